//! Follows the mount table: inodes of a filesystem that is unmounted end, and exports come and go with theirs.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch::Receiver,
    task::{JoinHandle, spawn_blocking, yield_now},
    time::sleep,
};

use crate::{
    access::Exports,
    fate::{self, Fate},
    hub::{Gone, Hub, Look},
    mounts::Table,
};

/// Between two looks at what lingers: inodes of a filesystem that has just been unmounted, is still in use, or is
/// mounted in another mount namespace only.
const FIRST_GAP: Duration = Duration::from_millis(10);
const LAST_GAP: Duration = Duration::from_secs(1);

/// Runs for as long as the daemon does.
pub async fn run(hub: Arc<Hub>, exports: Arc<Exports>, mut mounts: Receiver<Arc<Table>>) -> io::Result<()> {
    let mut keeper = Keeper { hub, exports, running: HashMap::new(), unchecked: HashSet::new() };
    loop {
        keeper.table_changed();
        let mut gap = FIRST_GAP;
        loop {
            let table = Arc::clone(&mounts.borrow_and_update());
            let lingers = keeper.look(&table).await;
            tokio::select! {
                changed = mounts.changed() => {
                    changed.map_err(io::Error::other)?;
                    break;
                }
                () = sleep(gap), if lingers => gap = LAST_GAP.min(gap * 2),
            }
        }
    }
}

/// What is looked at on a thread of its own, since a filesystem may never answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    Exports,
    Device(u32),
}

struct Keeper {
    hub: Arc<Hub>,
    exports: Arc<Exports>,
    /// One thread for each at most.
    running: HashMap<Check, JoinHandle<()>>,
    /// What has not been looked at since the table changed.
    unchecked: HashSet<Check>,
}

impl Keeper {
    fn table_changed(&mut self) {
        self.unchecked = self.hub.devices().into_iter().map(Check::Device).collect();
        self.unchecked.insert(Check::Exports);
    }

    /// Whether there is something to be looked at again.
    async fn look(&mut self, table: &Table) -> bool {
        self.running.retain(|_, check| !check.is_finished());
        let mut lingers = !self.check_exports();
        for device in self.hub.devices() {
            lingers |= if table.has(device) {
                !self.check_mounted(device).await
            } else {
                self.end_unmounted(device).await
            };
        }
        lingers
    }

    /// Whether that is done, as far as it concerns this task.
    fn check_exports(&mut self) -> bool {
        let exports = Arc::clone(&self.exports);
        self.check(Check::Exports, move || exports.check())
    }

    /// Whether any inode still lives.
    async fn end_unmounted(&self, device: u32) -> bool {
        let (mut alive, mut from) = (0, Some(0));
        while let Some(start) = from {
            let look = self.hub.unmounted(device, start);
            (alive, from) = (alive + look.alive, look.next);
            yield_now().await;
        }
        alive > 0
    }

    /// The device may have been unmounted and its number given to another filesystem since the last look. One
    /// watched inode that lives proves that it has not. Whether that is done, as above.
    async fn check_mounted(&mut self, device: u32) -> bool {
        let check = Check::Device(device);
        if !self.unchecked.contains(&check) {
            return true;
        }
        let (mut gone, mut from) = (Vec::new(), Some(0));
        while let Some(start) = from {
            let Look { alive, gone: some, next } = self.hub.look(device, start);
            if alive > 0 {
                self.unchecked.remove(&check);
                return true;
            }
            gone.extend(some);
            from = next;
            yield_now().await;
        }
        let (hub, exports) = (Arc::clone(&self.hub), Arc::clone(&self.exports));
        self.check(check, move || prove(&gone, &exports, &hub))
    }

    /// Starts it, unless the same one has not ended yet: then it must be tried again.
    fn check(&mut self, check: Check, work: impl FnOnce() + Send + 'static) -> bool {
        if !self.unchecked.contains(&check) {
            return true;
        }
        if self.running.contains_key(&check) {
            return false;
        }
        self.unchecked.remove(&check);
        self.running.insert(check, spawn_blocking(work));
        true
    }
}

/// No inode of these is in memory. If one of them can be found by its handle, the filesystem is the one that it
/// was; otherwise they have ended with it.
fn prove(gone: &[Gone], exports: &Exports, hub: &Hub) {
    let mut unknown = Vec::new();
    for gone in gone {
        match fate::of(gone, exports, hub) {
            Fate::Exists => return,
            Fate::Deleted => hub.deleted(gone),
            Fate::Unknown => unknown.push(gone),
        }
    }
    for gone in unknown {
        hub.deleted(gone);
    }
}
