//! Where a client compares what it keeps with the disk.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::{client::Client, disk, report::Broken, view::View};
use crate::deadline::patience;

/// Between two looks at what has not been told yet.
const AGAIN: Duration = Duration::from_millis(20);

/// Whether what clients keep in this pause must be right by upcalls alone. In the others they ask for a barrier.
pub(super) fn is_told(pause: u64) -> bool {
    pause % 4 == 3
}

impl Client {
    /// Nobody writes: all that is kept must be what is on the disk. After a SYNC in one pause, in the next one by
    /// upcalls alone, which may take their time.
    pub(super) async fn check(&mut self, phase: u64) -> Result<()> {
        match is_told(phase) {
            true => self.wait_to_be_told().await?,
            false => self.sync_at_pause().await?,
        }
        self.check_connection()
    }

    /// What is kept after a SYNC must be something that was there at its start or later. So where nobody has been at
    /// work from before the SYNC until after the look, it must be what is there.
    pub(super) async fn sync_and_compare(&mut self, broken: Broken) -> Result<()> {
        let rests = self.at_rest();
        if self.sync().await? {
            self.compare(broken, &rests)?;
        }
        Ok(())
    }

    async fn sync_at_pause(&mut self) -> Result<()> {
        let end = Instant::now() + patience();
        while !self.sync().await? {
            if Instant::now() >= end {
                return Ok(());
            }
            self.listen(AGAIN).await?;
        }
        let rests = self.at_rest();
        self.compare(Broken::StaleAfterSync, &rests)
    }

    async fn wait_to_be_told(&mut self) -> Result<()> {
        let end = Instant::now() + patience();
        while Instant::now() < end {
            self.listen(AGAIN).await?;
            if !self.cache.in_doubt && self.first_stale(&self.at_rest()).is_none() {
                break;
            }
        }
        if self.cache.in_doubt {
            return Ok(());
        }
        let rests = self.at_rest();
        self.compare(Broken::NotTold, &rests)
    }

    /// Stages where nobody is at work, with how many operations each has seen.
    fn at_rest(&self) -> BTreeMap<usize, u64> {
        (0..self.tree.stages()).filter_map(|stage| Some((stage, self.board.at_rest(stage)?))).collect()
    }

    /// One finding is enough: what is found stale is not looked at again.
    fn compare(&mut self, broken: Broken, rests: &BTreeMap<usize, u64>) -> Result<()> {
        let mut compared = 0;
        if let Some((cookie, view)) = self.first_stale_counting(rests, &mut compared)
            && let Some(entry) = self.cache.entries.get_mut(&cookie)
            && let Some(kept) = entry.kept.take()
        {
            let details = format!(
                "{} (inode {:?}, {}): kept of version {}: {}; heard last: {}",
                self.tree.path(entry.subject).display(),
                entry.identity,
                if entry.held.is_some() { "held open" } else { "by name" },
                entry.version,
                kept.differs(&view),
                entry.last,
            );
            let stage = entry.subject.stage;
            self.find(broken, Some(stage), details)?;
        }
        let counts = &mut self.cache.counts;
        *match broken {
            Broken::StaleWhileWriting => &mut counts.verified_writing,
            Broken::StaleAfterSync => &mut counts.verified_sync,
            _ => &mut counts.verified_told,
        } += compared;
        Ok(())
    }

    fn first_stale(&self, rests: &BTreeMap<usize, u64>) -> Option<(u64, View)> {
        self.first_stale_counting(rests, &mut 0)
    }

    fn first_stale_counting(&self, rests: &BTreeMap<usize, u64>, compared: &mut u64) -> Option<(u64, View)> {
        for (cookie, entry) in &self.cache.entries {
            let stage = entry.subject.stage;
            let (Some(kept), Some(rest)) = (entry.whole(), rests.get(&stage)) else { continue };
            let path = self.tree.path(entry.subject);
            // Another inode may have the name now: that one is not watched, but its directory is by who cares.
            let Some(view) = disk::look(entry.held.as_ref(), &path, entry.identity, self.contents_only)
            else {
                continue;
            };
            if self.board.at_rest(stage) != Some(*rest) {
                continue;
            }
            *compared += 1;
            if view != *kept {
                return Some((*cookie, view));
            }
        }
        None
    }

    /// Nobody loses a connection but by a fault of the time since the last check but one: what befell the daemon just
    /// before a check may show only after it.
    fn check_connection(&mut self) -> Result<()> {
        let now = (self.cache.counts.disconnected, self.board.excuses(self.index));
        let [before, last] = self.known;
        if self.cache.in_doubt {
            self.find(Broken::Disconnected, None, "the connection does not come back".to_owned())?;
        } else if now.0 > last.0 && now.1 == before.1 {
            let details = format!("disconnected {} times without a fault", now.0 - last.0);
            self.find(Broken::Disconnected, None, details)?;
        }
        self.known = [last, now];
        Ok(())
    }
}
