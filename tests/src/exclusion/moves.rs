//! What a client does, at random.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use upcall_client::{Access, Deny, Grant, Keep, LeaseId, LeaseKind, LockKind, LockRequest, OpenRequest};

use super::{
    claim::{CELLS, Claim, READ, WRITE},
    client::{Client, Said, Waited},
    holding::{Holding, Subject, access_bits, deny_bits},
    plan::RECALL,
    post::path_of,
};
use crate::deadline::patience;

/// Between two moves.
const REST: std::ops::Range<u64> = 50..400;
/// An open is closed after so long, so that everybody comes to something.
const LONGEST: Duration = Duration::from_secs(3);
/// One file of so many is there for locks; what the daemon opens for them is in the way of leases.
const LOCKED: usize = 3;
/// Each of the others is for so many clients, so that some are free for write leases.
const TOGETHER: usize = 4;
/// The owner of a client's locks.
const OWNER: u64 = 1;
/// One move of so many is another connection's.
const ROBBERY: u32 = 200;

impl Client {
    /// Until the run is over.
    pub(super) async fn live(&mut self) -> Result<()> {
        while !self.board.is_over() {
            let rest = self.rng.u64(REST);
            self.listen(Duration::from_millis(rest)).await?;
            if self.connected {
                self.tidy().await?;
                self.check_waits().await?;
                self.move_once().await?;
            }
        }
        self.leave().await
    }

    /// Every other client leaves everything to the grace period.
    async fn leave(&mut self) -> Result<()> {
        for file in 0..self.holdings.len() {
            if self.member.is_multiple_of(2) {
                self.close(file).await?;
            } else {
                self.publish(file, Claim::default(), None)?;
            }
        }
        let connection = self.connection.clone();
        self.ask(connection.ping()).await?;
        Ok(())
    }

    /// Answers recalls that are due, and closes what is of no use.
    async fn tidy(&mut self) -> Result<()> {
        let now = Instant::now();
        for file in 0..self.holdings.len() {
            let Some(holding) = &mut self.holdings[file] else { continue };
            if holding.spoiled {
                self.close(file).await?;
                continue;
            }
            let Some(recall) = holding.recall else { continue };
            let open = holding.open;
            if recall.extend && now < recall.deadline {
                if let Some(recall) = &mut holding.recall {
                    recall.extend = false;
                }
                let state = self.state.clone();
                if let Said::Yes(left) = self.ask(state.extend(open)).await?
                    && let Some(recall) = self.holdings[file].as_mut().and_then(|it| it.recall.as_mut())
                {
                    recall.deadline = Instant::now() + left;
                }
            } else if now >= recall.answer && now < recall.deadline {
                self.give_back(file, recall.keeps_read).await?;
            } else if now > recall.deadline + patience() {
                self.find(format!("the recall of file {file} has no end: {recall:?}"))?;
                self.close(file).await?;
            }
        }
        Ok(())
    }

    async fn check_waits(&mut self) -> Result<()> {
        let now = Instant::now();
        let late: Vec<(u64, bool)> = self
            .waits
            .iter()
            .filter(|(_, wait)| now >= wait.cancel)
            .map(|(request, wait)| (*request, now > wait.cancel + patience()))
            .collect();
        for (request, overdue) in late {
            if overdue {
                let since = self.waits.remove(&request).map(|wait| wait.since.elapsed());
                self.find(format!("request {request} has no end, after {since:?}"))?;
                continue;
            }
            let state = self.state.clone();
            // It may have ended in between.
            self.ask(state.cancel(request)).await?;
        }
        Ok(())
    }

    async fn move_once(&mut self) -> Result<()> {
        if self.rng.u32(..ROBBERY) == 0 {
            return self.rob().await;
        }
        let Some((file, locks)) = self.choose() else { return Ok(()) };
        let Some(holding) = &mut self.holdings[file] else { return self.open(file).await };
        holding.look()?;
        if holding.since.elapsed() > LONGEST {
            return self.close(file).await;
        }
        match self.rng.u8(..10) {
            0..5 if locks => self.lock(file).await,
            0..6 if !locks => self.lease(file).await,
            5 => self.unlock(file).await,
            6 => self.change(file).await,
            7 if locks => self.lock(file).await,
            8 => self.give_back(file, false).await,
            _ => self.close(file).await,
        }
    }

    /// A file of those that are for this client, and whether it is there for locks.
    fn choose(&mut self) -> Option<(usize, bool)> {
        let groups = (self.clients / TOGETHER).max(1);
        let locks = self.rng.u8(..3) == 0;
        let of_this = |file: &usize| match locks {
            true => file.is_multiple_of(LOCKED),
            false => !file.is_multiple_of(LOCKED) && (self.member + file).is_multiple_of(groups),
        };
        let file = self.rng.choice((0..self.holdings.len()).filter(of_this).collect::<Vec<_>>())?;
        Some((file, locks))
    }

    async fn open(&mut self, file: usize) -> Result<()> {
        // One at a time.
        let asked =
            |wait: &super::client::Wait| matches!(wait.what, Waited::Open { file: of, .. } if of == file);
        if self.waits.values().any(asked) {
            return Ok(());
        }
        // It may have no name just now.
        let Ok(subject) = Subject::find(&path_of(&self.post.root, file)) else { return Ok(()) };
        let access = self
            .rng
            .choice([Access::Read, Access::Read, Access::Read, Access::Both, Access::Both, Access::Write])
            .unwrap_or(Access::Read);
        let deny = match self.rng.u8(..12) {
            0 => self.rng.choice([Deny::Read, Deny::Write, Deny::Both]).unwrap_or(Deny::None),
            _ => Deny::None,
        };
        let request = OpenRequest::handle(&self.post.root, subject.kind, subject.handle.clone(), file as u64)
            .access(access)
            .deny(deny)
            .advisory_ok(deny != Deny::None)
            .lease_id(LeaseId([7; 16]))
            .wait(self.rng.bool());
        let state = self.state.clone();
        match self.ask(state.open(request.clone())).await? {
            Said::Yes(Grant::Granted(opened)) => {
                self.opened(file, Holding::new(subject, opened.open, access, deny))
            }
            Said::Yes(Grant::Waiting(request)) | Said::Doubtful(Grant::Waiting(request)) => {
                self.wait(request, Waited::Open { file, subject, access, deny }, RECALL * 4)
            }
            Said::Doubtful(Grant::Granted(opened)) => {
                let state = self.state.clone();
                self.ask(state.close(opened.open)).await.map(drop)
            }
            Said::No | Said::Gone => Ok(()),
        }
    }

    async fn lease(&mut self, file: usize) -> Result<()> {
        let Some(holding) = &self.holdings[file] else { return Ok(()) };
        let (open, access) = (holding.open, holding.held.access);
        let kind = match access {
            READ => LeaseKind::Read,
            WRITE => LeaseKind::Write,
            _ if self.rng.bool() => LeaseKind::Read,
            _ => LeaseKind::Write,
        };
        let state = self.state.clone();
        match self.ask(state.lease(open, kind)).await? {
            Said::Yes(held) if !held.advisory => self.leased(file, kind),
            // What does not hold local processes is not claimed.
            Said::Yes(_) => self.close(file).await,
            Said::Doubtful(_) | Said::Gone => self.spoil(file),
            Said::No => Ok(()),
        }
    }

    /// All leases of an open, or what exceeds a read lease.
    async fn give_back(&mut self, file: usize, keeps_read: bool) -> Result<()> {
        let Some(holding) = &mut self.holdings[file] else { return Ok(()) };
        holding.look()?;
        let keeps = keeps_read && holding.held.access & READ != 0 && holding.writes > 0;
        let mut left = holding.held;
        left.lease = if keeps { READ } else { 0 };
        self.publish(file, left, None)?;
        let mut keep = if keeps { Keep::Read } else { Keep::None };
        loop {
            let Some(holding) = &self.holdings[file] else { return Ok(()) };
            let kind = match (holding.reads, holding.writes) {
                (_, 1..) => LeaseKind::Write,
                (1.., _) if !keeps => LeaseKind::Read,
                _ => break,
            };
            let (open, state) = (holding.open, self.state.clone());
            let said = self.ask(state.give_back(open, kind, keep)).await?;
            let Some(holding) = &mut self.holdings[file] else { return Ok(()) };
            match said {
                Said::Yes(()) => {
                    *holding.leases(kind) -= 1;
                    holding.reads += u32::from(keep == Keep::Read);
                    keep = Keep::None;
                    holding.count_leases();
                }
                Said::No => return self.close(file).await,
                // How many are left is not known any more.
                Said::Doubtful(()) | Said::Gone => return self.spoil(file),
            }
        }
        if let Some(holding) = &mut self.holdings[file] {
            holding.recall = None;
        }
        Ok(())
    }

    fn cells(&mut self) -> std::ops::Range<u64> {
        let start = self.rng.u64(..CELLS);
        start..self.rng.u64(start + 1..=CELLS)
    }

    async fn lock(&mut self, file: usize) -> Result<()> {
        let (cells, wait) = (self.cells(), self.rng.bool());
        let Some(holding) = &self.holdings[file] else { return Ok(()) };
        let (open, access, mut left) = (holding.open, holding.held.access, holding.held);
        // What comes of two at a time depends on their order.
        if holding.waits {
            return Ok(());
        }
        let kind = match access {
            READ => READ,
            WRITE => WRITE,
            _ => self.rng.choice([READ, WRITE]).unwrap_or(READ),
        };
        // A write lock may become a read lock.
        for cell in cells.clone() {
            left.set_lock(cell, left.lock(cell) & kind);
        }
        self.publish(file, left, None)?;
        let named = if kind == READ { LockKind::Read } else { LockKind::Write };
        let request = LockRequest::new(OWNER, named, cells.start, cells.end - cells.start).wait(wait);
        let state = self.state.clone();
        match self.ask(state.lock(open, request)).await? {
            Said::Yes(Grant::Granted(held)) if !held.advisory => self.locked(file, cells, kind),
            Said::Yes(Grant::Waiting(request)) => {
                if let Some(holding) = &mut self.holdings[file] {
                    holding.held = left;
                    holding.waits = true;
                }
                let patience = Duration::from_millis(self.rng.u64(200..3000));
                self.wait(request, Waited::Lock { file, cells, kind }, patience)
            }
            Said::Yes(Grant::Granted(_)) => self.close(file).await,
            Said::Doubtful(_) | Said::Gone => self.spoil(file),
            Said::No => Ok(()),
        }
    }

    async fn unlock(&mut self, file: usize) -> Result<()> {
        let cells = self.cells();
        let Some(holding) = &self.holdings[file] else { return Ok(()) };
        if holding.waits {
            return Ok(());
        }
        let (open, mut left) = (holding.open, holding.held);
        cells.clone().for_each(|cell| left.set_lock(cell, 0));
        self.publish(file, left, None)?;
        let state = self.state.clone();
        match self.ask(state.unlock(open, OWNER, cells.start, cells.end - cells.start)).await? {
            Said::Yes(()) => {
                if let Some(holding) = &mut self.holdings[file] {
                    holding.held.locks = left.locks;
                }
                Ok(())
            }
            Said::Doubtful(()) | Said::Gone => self.spoil(file),
            Said::No => Ok(()),
        }
    }

    /// To other modes; what both have is claimed meanwhile.
    async fn change(&mut self, file: usize) -> Result<()> {
        let access = self.rng.choice([Access::Read, Access::Both]).unwrap_or(Access::Read);
        let Some(holding) = &self.holdings[file] else { return Ok(()) };
        let (open, held) = (holding.open, holding.held);
        let deny = Deny::None;
        let mut common = held;
        common.access &= access_bits(access);
        common.deny &= deny_bits(deny);
        self.publish(file, common, None)?;
        let state = self.state.clone();
        match self.ask(state.change(open, access, deny)).await? {
            Said::Yes(()) => {
                let Some(holding) = &mut self.holdings[file] else { return Ok(()) };
                (holding.held.access, holding.held.deny) = (access_bits(access), deny_bits(deny));
                let held = holding.held;
                self.publish(file, held, None)
            }
            // As it was.
            Said::No => self.publish(file, held, None),
            Said::Doubtful(()) | Said::Gone => self.spoil(file),
        }
    }

    async fn close(&mut self, file: usize) -> Result<()> {
        let Some(holding) = &mut self.holdings[file] else { return Ok(()) };
        holding.look()?;
        let open = holding.open;
        self.publish(file, Claim::default(), None)?;
        let state = self.state.clone();
        match self.ask(state.close(open)).await? {
            Said::Yes(()) | Said::No => self.holdings[file] = None,
            Said::Doubtful(_) => {
                // It is closed all the same; what it claimed before may have been lost.
                self.excuse(file, Claim::default())?;
                self.holdings[file] = None;
            }
            // It comes back with the connection.
            Said::Gone => self.spoil(file)?,
        }
        Ok(())
    }
}
