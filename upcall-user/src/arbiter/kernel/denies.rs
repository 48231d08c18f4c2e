//! What the kernel lets nobody else open.

use std::{io, os::fd::AsFd, sync::Arc};

use tokio::time::timeout;

use super::{Event, Outcome, on_thread};
use crate::{
    arbiter::run::{SCAN, Task},
    hold::{self, Search},
    state::{AskId, ClientId, Deny, InodeId, Kernel as Answer, Who},
};

impl Task {
    pub(in crate::arbiter) fn ask_deny(
        &mut self,
        ask: AskId,
        inode: InodeId,
        wanted: Deny,
        client: ClientId,
    ) {
        let Some(file) = self.files.get_mut(inode) else { return self.answered(ask, Answer::Unsupported) };
        let before = file.deny;
        // First, so that nobody comes in between the search and the answer.
        if self.kernel.deny(file.found.key, wanted) {
            file.deny = wanted;
        }
        let found = Arc::clone(&file.found);
        // Nobody has it open in a way that was denied before. Who asks may: its own opens are its own affair.
        let (more, asker) = (wanted.without(before), self.clients.pid(client));
        let denied = move |opener: hold::Opener| {
            opener.pid != asker
                && (more.denies_write() && opener.access.writes()
                    || more.denies_read() && opener.access.reads())
        };
        self.events.spawn(async move {
            let search = on_thread(move || hold::find_opener(found.fd.as_fd(), denied, SCAN));
            // A file that somebody serves who does not answer keeps the thread, but not the request.
            let searched = timeout(2 * SCAN, search).await.unwrap_or(Ok(Search::Cut));
            Event::Kernel(Outcome::Deny { ask, inode, before, wanted, searched })
        });
    }

    pub(in crate::arbiter) fn set_deny(&mut self, inode: InodeId, deny: Deny) {
        if let Some(file) = self.files.get_mut(inode)
            && self.kernel.deny(file.found.key, deny)
        {
            file.deny = deny;
        }
    }

    pub(super) fn openers_found(
        &mut self,
        inode: InodeId,
        before: Deny,
        wanted: Deny,
        searched: io::Result<Search>,
    ) -> Answer {
        let file = self.files.get(inode);
        let enforced = file.is_some_and(|file| file.deny == wanted);
        // Who waits for a lease to be given up is past the hook that denies, and has no descriptor yet.
        let lease = file.and_then(|file| file.lease).zip(self.kernel.leases.as_ref());
        let coming = lease.is_some_and(|(lease, leases)| leases.is_breaking(lease));
        let answer = match searched {
            Ok(Search::Nobody) if coming => Answer::Refused(Who::Unknown),
            Ok(Search::Nobody) if enforced => return Answer::Held,
            Ok(Search::Nobody) => Answer::Unsupported,
            Ok(Search::Found(opener)) => Answer::Refused(Who::Process(opener.pid)),
            Ok(Search::Cut) => {
                tracing::warn!("not all processes could be looked at for who has a file open");
                Answer::Unsupported
            }
            Err(error) => {
                tracing::error!(%error, "cannot look for who has a file open");
                Answer::Unsupported
            }
        };
        self.set_deny(inode, before);
        answer
    }
}
