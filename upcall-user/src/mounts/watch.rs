//! Hearing of mounts and unmounts.

use std::{fs::File, future::Future, io, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::Table;
use crate::sys::readiness::{self, CHANGED};

/// Between two readings, so that a host that mounts all the time does not keep the daemon at reading.
const CALM: Duration = Duration::from_millis(20);

/// The table as it is now and after each change, and what keeps it up to date: a future that ends only with an
/// error.
pub fn watch() -> io::Result<(watch::Receiver<Arc<Table>>, impl Future<Output = io::Result<()>>)> {
    let changes = readiness::changes(File::open("/proc/self/mountinfo")?)?;
    // Read after the descriptor is being waited for, so that no change is missed.
    let (sender, receiver) = watch::channel(Arc::new(Table::read()?));
    let follow = async move {
        loop {
            changes.ready(CHANGED).await?.clear_ready();
            sender.send_replace(Arc::new(Table::read()?));
            sleep(CALM).await;
        }
    };
    Ok((receiver, follow))
}
