//! What the kernel's leases do not hold back is heard of by way of the hub, as any change is, after it: rename, unlink,
//! changes of attributes; and everything, where a lease is advisory.

use std::sync::Arc;

use tokio::sync::Notify;
use upcall_common::{abi::Originator, change};

use super::files::File;
use crate::{
    hub::{ClientIndex, ClientInfo, Hub, RegisterError, Upcall, Wanted, Wish},
    server::Link,
    state::InodeId,
};

/// What conflicts with leases although the kernel holds one.
const BESIDE: u32 = change::RENAME
    | change::NLINK
    | change::MODE
    | change::OWNER
    | change::XATTR
    | change::ACL
    | change::ENTRIES
    | change::FLAGS
    | change::ATIME
    | change::ALWAYS;
/// So do times that are set; those of a write come with it.
const TIMES: u32 = change::TIMES;
/// What the kernel's lease holds back, but for whoever has the file open already: the holder.
const HELD: u32 = change::DATA | change::SIZE;

/// Most changes taken in one go.
const STEP: usize = 256;

/// Somebody has changed a file.
pub(super) struct Change {
    pub(super) inode: InodeId,
    /// In a way that the kernel's lease does not hold back.
    pub(super) beside: bool,
    /// There will be no more.
    pub(super) ended: bool,
    /// The process, where it was one alone.
    pub(super) by: Option<u32>,
}

impl From<&Upcall> for Change {
    fn from(upcall: &Upcall) -> Self {
        let (by, apart) = upcall.provenance.map_or((None, 0), |it| match it.originator {
            Originator::Process(pid) => (Some(pid), it.apart),
            Originator::Unknown => (None, it.apart),
        });
        let beside = upcall.changes & BESIDE != 0 || apart & TIMES != 0;
        Self { inode: InodeId(upcall.cookie), beside, ended: upcall.ended, by }
    }
}

/// The arbiter as a client of the hub.
pub(super) struct Outside {
    hub: Arc<Hub>,
    client: ClientIndex,
    changed: Arc<Notify>,
}

impl Outside {
    pub(super) fn new(hub: &Arc<Hub>) -> Self {
        let pid = std::process::id();
        let info = ClientInfo {
            name: "the daemon itself, for leases".into(),
            address: "internal".into(),
            uid: 0,
            pid,
        };
        let (client, changed) = hub.join(info);
        Self { hub: Arc::clone(hub), client, changed }
    }

    /// Hears of a file from now on.
    pub(super) fn follow(&self, inode: InodeId, file: &mut File) -> Result<(), RegisterError> {
        if file.interest.is_none() {
            let wish = Wish { cookie: inode.0, mask: BESIDE | TIMES | HELD, include_own: true };
            let wanted = Wanted { file: file.fd(), origin: None, wish, lifetime: None, known: 0 };
            let made = self.hub.register(self.client, vec![wanted]).pop();
            file.interest = Some(made.unwrap_or(Err(RegisterError::Kernel))?.interest);
        }
        Ok(())
    }

    pub(super) fn leave(&self, file: &File) {
        if let Some(interest) = file.interest {
            // It may have ended with its inode.
            let _ = self.hub.unregister(self.client, interest);
        }
    }

    /// Resolves when there may be changes.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + 'static {
        let changed = Arc::clone(&self.changed);
        async move { changed.notified().await }
    }

    pub(super) fn take(&self) -> Vec<Change> {
        let taken = self.hub.take_upcalls(self.client, STEP, u64::MAX);
        if taken.len() == STEP {
            self.changed.notify_one();
        }
        taken.iter().map(Change::from).collect()
    }

    /// Whether the process at the other end of the connection is this one.
    pub(super) fn is_process(&self, link: &Link, pid: u32) -> bool {
        link.pid() == pid && self.hub.is_process(link.client(), pid)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.hub.disconnect(self.client);
    }
}
