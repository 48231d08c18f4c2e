//! What the members of a run share: what each claims of each file, and how its earlier claims have ended.

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use anyhow::Result;

use super::{
    claim::Claim,
    plan::Plan,
    suspicion::{Stand, Suspicion},
};
use crate::sys::shared::SharedWords;

/// Claims of a member and file whose ends are remembered.
const REMEMBERED: usize = 64;

const OVER: usize = 0;
const FIRST: usize = 1;
/// Of a member: since when it waits in a system call, and how much it has done.
const BUSY: usize = 0;
const DONE: usize = 1;
const FIRST_FILE: usize = 2;
/// Of a file of a member: the claim with its number, the inode that it is of, and the ends of claims.
const CLAIM: usize = 0;
const INODE: usize = 1;
const ENDS: usize = 2;
const FILE: usize = ENDS + REMEMBERED;

const NUMBER: u32 = 40;

/// How a claim has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By the holder's will, with nothing told before of a loss: it stood to the end.
    Willed = 1,
    /// The holder was told that it is gone, or could not be told.
    Excused = 2,
}

#[derive(Debug)]
pub(super) struct Board {
    words: SharedWords,
    members: usize,
    files: usize,
}

impl Board {
    pub(super) fn open(path: &Path, plan: &Plan) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let (members, files) = (plan.members(), plan.files);
        let words = FIRST + members * (FIRST_FILE + files * FILE);
        Ok(Self { words: SharedWords::map(&file, words)?, members, files })
    }

    pub(super) fn is_over(&self) -> bool {
        self.word(OVER).load(SeqCst) != 0
    }

    pub(super) fn end(&self) {
        self.word(OVER).store(1, SeqCst);
    }

    /// Claims something else than before. Returns the number of the former claim, whose end is to be told.
    pub(super) fn claim(&self, member: usize, file: usize, inode: u64, claim: Claim) -> u64 {
        let word = self.of(member, file, CLAIM);
        let before = word.load(SeqCst);
        // A member that claims nothing may change the inode; nobody looks at that then.
        if Claim::unpack(before) == Claim::default() {
            self.of(member, file, INODE).store(inode, SeqCst);
        }
        let number = before >> NUMBER;
        word.store(((number + 1) << NUMBER) | claim.pack(), SeqCst);
        number
    }

    pub(super) fn claimed(&self, member: usize, file: usize) -> Claim {
        Claim::unpack(self.of(member, file, CLAIM).load(SeqCst))
    }

    pub(super) fn tell_end(&self, member: usize, file: usize, number: u64, end: End) {
        self.end_of(member, file, number).store((number << 2) | end as u64, SeqCst);
    }

    /// A member has been killed.
    pub(super) fn bury(&self, member: usize) {
        self.set_busy(member, 0);
        for file in 0..self.files {
            let number = self.claim(member, file, 0, Claim::default());
            // Also the last ones before, of which it has not told.
            for number in number.saturating_sub(REMEMBERED as u64 - 1)..=number {
                if self.stand(member, file, number) == Stand::Untold {
                    self.tell_end(member, file, number, End::Excused);
                }
            }
        }
    }

    /// Who excludes what a member claims of a file.
    pub(super) fn suspect(&self, member: usize, file: usize) -> Vec<Suspicion> {
        let own = self.of(member, file, CLAIM).load(SeqCst);
        let inode = self.of(member, file, INODE).load(SeqCst);
        let others = (0..self.members).filter(|other| *other != member);
        others
            .filter_map(|other| {
                let its = self.of(other, file, CLAIM).load(SeqCst);
                let what = Claim::unpack(own).excludes(Claim::unpack(its))?;
                let same = self.of(other, file, INODE).load(SeqCst) == inode
                    && self.of(other, file, CLAIM).load(SeqCst) == its;
                same.then(|| Suspicion {
                    what: what.to_owned(),
                    file,
                    claims: [(member, own), (other, its)]
                        .map(|(member, word)| (member, word >> NUMBER, Claim::unpack(word).to_string())),
                })
            })
            .collect()
    }

    pub(super) fn stand(&self, member: usize, file: usize, number: u64) -> Stand {
        if self.of(member, file, CLAIM).load(SeqCst) >> NUMBER == number {
            return Stand::Stands;
        }
        let end = self.end_of(member, file, number).load(SeqCst);
        match (end >> 2 == number, end & 3) {
            (true, 1) => Stand::Ended(End::Willed),
            (true, 2) => Stand::Ended(End::Excused),
            _ if end >> 2 > number => Stand::Forgotten,
            _ => Stand::Untold,
        }
    }

    /// `ns`: since when it waits; 0: it does not.
    pub(super) fn set_busy(&self, member: usize, ns: u64) {
        self.member(member, BUSY).store(ns, SeqCst);
    }

    pub(super) fn busy_since(&self, member: usize) -> u64 {
        self.member(member, BUSY).load(SeqCst)
    }

    pub(super) fn count(&self, member: usize) {
        self.member(member, DONE).fetch_add(1, SeqCst);
    }

    /// What the members from here to there have done.
    pub(super) fn done(&self, members: std::ops::Range<usize>) -> u64 {
        members.map(|member| self.member(member, DONE).load(SeqCst)).sum()
    }

    fn end_of(&self, member: usize, file: usize, number: u64) -> &AtomicU64 {
        let place = usize::try_from(number % REMEMBERED as u64).unwrap_or(0);
        self.of(member, file, ENDS + place)
    }

    fn member(&self, member: usize, word: usize) -> &AtomicU64 {
        self.word(FIRST + member * (FIRST_FILE + self.files * FILE) + word)
    }

    fn of(&self, member: usize, file: usize, word: usize) -> &AtomicU64 {
        self.member(member, FIRST_FILE + file * FILE + word)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words.words()[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::claim::WRITE;

    const LEASE: Claim = Claim { access: 3, deny: 0, lease: WRITE, local: false, locks: 0 };

    fn board() -> Result<Board> {
        Board::open(tempfile::NamedTempFile::new()?.path(), &Plan::default())
    }

    #[test]
    fn two_who_exclude_each_other_are_suspected_on_one_inode_alone() -> Result<()> {
        let board = board()?;
        board.claim(3, 1, 77, LEASE);
        board.claim(5, 1, 78, LEASE);
        board.claim(6, 2, 77, LEASE);
        assert!(board.suspect(3, 1).is_empty());
        board.claim(5, 1, 0, Claim::default());
        board.claim(5, 1, 77, LEASE);
        assert_eq!(board.suspect(5, 1).len(), 1);
        assert_eq!(board.suspect(3, 1).len(), 1);
        Ok(())
    }

    #[test]
    fn only_claims_that_both_stood_to_the_end_convict() -> Result<()> {
        let board = board()?;
        for (ends, guilty) in [
            ([End::Willed, End::Willed], Some(true)),
            ([End::Willed, End::Excused], Some(false)),
            ([End::Excused, End::Willed], Some(false)),
        ] {
            board.claim(0, 0, 1, LEASE);
            board.claim(1, 0, 1, LEASE);
            let suspicion = board.suspect(1, 0).pop().expect("they exclude each other");
            assert_eq!(suspicion.verdict(&board), None);
            for (member, end) in [0, 1].into_iter().zip(ends) {
                let number = board.claim(member, 0, 0, Claim::default());
                board.tell_end(member, 0, number, end);
            }
            assert_eq!(suspicion.verdict(&board), guilty, "{ends:?}");
        }
        Ok(())
    }

    #[test]
    fn the_killed_are_excused() -> Result<()> {
        let board = board()?;
        board.claim(0, 0, 1, LEASE);
        board.claim(1, 0, 1, LEASE);
        let suspicion = board.suspect(1, 0).pop().expect("they exclude each other");
        // It was about to tell.
        board.claim(0, 0, 1, Claim::default());
        board.bury(0);
        assert_eq!(suspicion.verdict(&board), Some(false));
        Ok(())
    }
}
