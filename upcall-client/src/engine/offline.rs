//! What happens between two connections.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::error::Error;
use crate::job::Command;
use crate::net::Connection;
use crate::{Address, Notice, Options};

/// Does `work` and refuses every request meanwhile.
pub(super) async fn refusing<T>(commands: &mut mpsc::Receiver<Command>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(command) = commands.recv() => command.fail(Error::Disconnected),
        }
    }
}

/// Waits until every notice has found room, or nobody reads any more.
pub(super) async fn deliver(notices: &mpsc::Sender<Notice>, backlog: &mut VecDeque<Notice>) {
    for notice in backlog.drain(..) {
        if notices.send(notice).await.is_err() {
            return;
        }
    }
}

/// Tries until the daemon welcomes us, at growing intervals.
pub(super) async fn dial(address: &Address, options: &Options, delay: &mut Duration) -> Connection {
    loop {
        sleep(*delay).await;
        *delay = delay.saturating_mul(2).min(options.backoff_max);
        if let Ok(connection) = Connection::open(address, options).await {
            return connection;
        }
    }
}
