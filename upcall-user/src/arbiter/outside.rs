//! What the kernel's leases do not hold back is heard of by way of the hub, as any change is, after it: rename, unlink,
//! changes of attributes; and everything, where a lease is advisory.

use std::sync::Arc;

use tokio::sync::Notify;
use upcall_common::change;

use super::files::File;
use crate::{
    hub::{ClientIndex, ClientInfo, Hub, RegisterError, Wanted, Wish},
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
    | change::ALWAYS;
/// What the kernel's lease holds back, but for whoever has the file open already: the holder.
const HELD: u32 = change::DATA | change::SIZE;

/// Most changes taken in one go.
const STEP: usize = 256;

/// A client of the hub's like any other: the arbiter itself.
pub(super) struct Outside {
    hub: Arc<Hub>,
    client: ClientIndex,
    changed: Arc<Notify>,
}

impl Outside {
    /// `None`: the daemon has as many clients as it may.
    pub(super) fn new(hub: &Arc<Hub>) -> Option<Self> {
        let pid = std::process::id();
        let info = ClientInfo {
            name: "the daemon itself, for leases".into(),
            address: "internal".into(),
            uid: 0,
            pid,
        };
        let (client, changed) = hub.connect(info, None)?;
        Some(Self { hub: Arc::clone(hub), client, changed })
    }

    /// Hears of a file from now on.
    pub(super) fn follow(&self, inode: InodeId, file: &mut File) -> Result<(), RegisterError> {
        if file.interest.is_none() {
            let wish = Wish { cookie: inode.0, mask: BESIDE | HELD, include_own: true };
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

    /// Files that somebody has changed, and whether in a way that the kernel's lease does not hold back.
    pub(super) fn take(&self) -> Vec<(InodeId, bool)> {
        let taken = self.hub.take_upcalls(self.client, STEP, u64::MAX);
        if taken.len() == STEP {
            self.changed.notify_one();
        }
        taken.into_iter().map(|upcall| (InodeId(upcall.cookie), upcall.changes & BESIDE != 0)).collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.hub.disconnect(self.client);
    }
}
