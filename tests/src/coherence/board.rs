//! What the processes of a run share: the phase that all are in, and for each stage what is being done to it.

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::sys::shared::SharedWords;

/// Most writers, and most clients.
pub(crate) const MOST_OF_EACH: usize = 16;
/// Most stages.
pub(crate) const STAGES: usize = 64;
/// Most kinds of actions.
const ACTIONS: usize = 128;
/// Operations of a stage that are remembered.
const HISTORY: usize = 24;

const PHASE: usize = 0;
const CHECK: usize = 1;
const WRITERS: usize = 8;
const CLIENTS: usize = WRITERS + MOST_OF_EACH;
const EXCUSES: usize = CLIENTS + MOST_OF_EACH;
/// How often each action has succeeded, and how often any has failed.
const DONE: usize = EXCUSES + MOST_OF_EACH;
const FAILED: usize = DONE + ACTIONS;
const FIRST_STAGE: usize = FAILED + 1;
/// Of a stage: its lock, how many operations have begun, and how many have ended; then those remembered.
const LOCK: usize = 0;
const BEGUN: usize = 1;
const ENDED: usize = 2;
const REMEMBERED: usize = 3;
const STAGE: usize = REMEMBERED + HISTORY * FIELDS;
/// Of one that is remembered: see [`Remembered`].
const BEGUN_NS: usize = 0;
const ENDED_NS: usize = 1;
const WRITER: usize = 2;
const ACTION: usize = 3;
const ERRNO: usize = 4;
const FIELDS: usize = 5;
const WORDS: usize = FIRST_STAGE + STAGES * STAGE;

/// The phase in which all end. Others are counted up: writers write in those that are even.
const OVER: u64 = u64::MAX;
/// A lock that lets nobody else in.
const ALONE: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Board(SharedWords);

/// What writers and clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Write(u64),
    Pause(u64),
    Over,
}

/// An operation that is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    pub(crate) begun_ns: u64,
    /// 0: it has not ended.
    pub(crate) ended_ns: u64,
    pub(crate) writer: u64,
    /// By its place in [`super::action::all`].
    pub(crate) action: u64,
    /// 0: it succeeded.
    pub(crate) errno: u64,
}

/// A stage on which its holder works.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    board: &'a Board,
    stage: usize,
    number: u64,
    action: usize,
    alone: bool,
    pub(crate) errno: u64,
}

impl Board {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self(SharedWords::map(&file, WORDS)?))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.word(PHASE).load(SeqCst) {
            OVER => Phase::Over,
            number if number % 2 == 0 => Phase::Write(number),
            number => Phase::Pause(number),
        }
    }

    /// The writers are to pause. Returns the phase's number.
    pub(crate) fn pause(&self) -> u64 {
        self.word(PHASE).fetch_add(1, SeqCst) + 1
    }

    pub(crate) fn resume(&self) {
        self.word(PHASE).fetch_add(1, SeqCst);
    }

    pub(crate) fn end(&self) {
        self.word(PHASE).store(OVER, SeqCst);
    }

    pub(crate) fn writer_pauses(&self, writer: usize, phase: u64) {
        self.word(WRITERS + writer).store(phase, SeqCst);
    }

    pub(crate) fn writer_paused(&self, writer: usize, phase: u64) -> bool {
        self.word(WRITERS + writer).load(SeqCst) == phase
    }

    /// All writers pause: the clients are to check what they have.
    pub(crate) fn ask_for_check(&self, phase: u64) {
        self.word(CHECK).store(phase, SeqCst);
    }

    pub(crate) fn check_wanted(&self, phase: u64) -> bool {
        self.word(CHECK).load(SeqCst) == phase
    }

    pub(crate) fn client_checked(&self, client: usize, phase: u64) {
        self.word(CLIENTS + client).store(phase, SeqCst);
    }

    pub(crate) fn has_checked(&self, client: usize, phase: u64) -> bool {
        self.word(CLIENTS + client).load(SeqCst) == phase
    }

    /// A fault is about to befall a client by which it may lose its connection.
    pub(crate) fn excuse(&self, client: usize) {
        self.word(EXCUSES + client).fetch_add(1, SeqCst);
    }

    pub(crate) fn excuses(&self, client: usize) -> u64 {
        self.word(EXCUSES + client).load(SeqCst)
    }

    /// `None`: others are at work there, beside whom one may not be.
    pub(crate) fn begin(&self, stage: usize, writer: usize, action: usize, alone: bool) -> Option<Turn<'_>> {
        let lock = |held: u64| match (alone, held) {
            (true, 0) => Some(ALONE),
            (false, held) if held < ALONE - 1 => Some(held + 1),
            _ => None,
        };
        self.of(stage, LOCK).fetch_update(SeqCst, SeqCst, lock).ok()?;
        let number = self.of(stage, BEGUN).fetch_add(1, SeqCst);
        for (field, value) in [
            (BEGUN_NS, now_ns()),
            (ENDED_NS, 0),
            (WRITER, writer as u64),
            (ACTION, action as u64),
            (ERRNO, 0),
        ] {
            self.remembered(stage, number, field).store(value, SeqCst);
        }
        Some(Turn { board: self, stage, number, action, alone, errno: 0 })
    }

    /// How many operations a stage has seen, if none is under way.
    pub(crate) fn at_rest(&self, stage: usize) -> Option<u64> {
        let ended = self.of(stage, ENDED).load(SeqCst);
        (self.of(stage, BEGUN).load(SeqCst) == ended).then_some(ended)
    }

    /// How many actions have succeeded, of how many kinds, and how many have failed.
    pub(crate) fn done(&self) -> (u64, usize, u64) {
        let done: Vec<u64> = (DONE..FAILED).map(|word| self.word(word).load(SeqCst)).collect();
        let kinds = done.iter().filter(|count| **count > 0).count();
        (done.iter().sum(), kinds, self.word(FAILED).load(SeqCst))
    }

    /// The latest operations of a stage, oldest first.
    pub(crate) fn history(&self, stage: usize) -> Vec<Remembered> {
        let begun = self.of(stage, BEGUN).load(SeqCst);
        let first = begun.saturating_sub(HISTORY as u64);
        let field = |number, field| self.remembered(stage, number, field).load(SeqCst);
        (first..begun)
            .map(|number| Remembered {
                begun_ns: field(number, BEGUN_NS),
                ended_ns: field(number, ENDED_NS),
                writer: field(number, WRITER),
                action: field(number, ACTION),
                errno: field(number, ERRNO),
            })
            .collect()
    }

    fn remembered(&self, stage: usize, number: u64, field: usize) -> &AtomicU64 {
        let place = usize::try_from(number % HISTORY as u64).unwrap_or(0);
        self.of(stage, REMEMBERED + place * FIELDS + field)
    }

    fn of(&self, stage: usize, word: usize) -> &AtomicU64 {
        self.word(FIRST_STAGE + stage * STAGE + word)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.0.words()[index]
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self { board, stage, number, .. } = *self;
        let count = if self.errno == 0 { DONE + self.action } else { FAILED };
        board.word(count).fetch_add(1, SeqCst);
        board.remembered(stage, number, ERRNO).store(self.errno, SeqCst);
        board.remembered(stage, number, ENDED_NS).store(now_ns(), SeqCst);
        board.of(stage, ENDED).fetch_add(1, SeqCst);
        match self.alone {
            true => board.of(stage, LOCK).store(0, SeqCst),
            false => drop(board.of(stage, LOCK).fetch_sub(1, SeqCst)),
        }
    }
}

/// What the history is stamped with.
pub(crate) fn now_ns() -> u64 {
    // This clock cannot fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Between two looks at the board.
pub(crate) const GLANCE: Duration = Duration::from_millis(2);

/// Looks at the board until it shows something.
pub(crate) fn wait(limit: Duration, what: &str, mut shown: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    while !shown().with_context(|| format!("while waiting for {what}"))? {
        ensure!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(GLANCE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Result<Board> {
        Board::open(tempfile::NamedTempFile::new()?.path())
    }

    #[test]
    fn who_must_be_alone_is() -> Result<()> {
        let board = board()?;
        let first = board.begin(3, 0, 1, false);
        assert!(first.is_some() && board.begin(3, 1, 1, false).is_some());
        assert!(board.begin(3, 1, 1, true).is_none());
        assert!(board.begin(4, 1, 1, true).is_some());
        drop(first);
        let alone = board.begin(3, 1, 1, true);
        assert!(alone.is_some() && board.begin(3, 0, 1, false).is_none());
        Ok(())
    }

    #[test]
    fn a_stage_rests_when_all_has_ended() -> Result<()> {
        let board = board()?;
        assert_eq!(board.at_rest(0), Some(0));
        let (first, second) = (board.begin(0, 0, 7, false), board.begin(0, 1, 8, false));
        drop(second);
        assert_eq!(board.at_rest(0), None);
        drop(first);
        assert_eq!(board.at_rest(0), Some(2));
        assert_eq!(board.at_rest(1), Some(0));
        assert_eq!(board.done(), (2, 2, 0));
        Ok(())
    }

    #[test]
    fn the_latest_operations_are_remembered() -> Result<()> {
        let board = board()?;
        for action in 0..HISTORY + 5 {
            let mut turn = board.begin(STAGES - 1, 2, action, false).context("it is free")?;
            turn.errno = 17;
        }
        let history = board.history(STAGES - 1);
        assert_eq!(history.len(), HISTORY);
        assert_eq!(history[0].action, 5);
        assert!(history.iter().all(|it| it.writer == 2 && it.errno == 17 && it.ended_ns >= it.begun_ns));
        Ok(())
    }

    #[test]
    fn writers_write_until_they_are_to_pause() -> Result<()> {
        let board = board()?;
        assert_eq!(board.phase(), Phase::Write(0));
        let pause = board.pause();
        assert_eq!(board.phase(), Phase::Pause(pause));
        board.resume();
        assert_eq!(board.phase(), Phase::Write(pause + 1));
        board.end();
        assert_eq!(board.phase(), Phase::Over);
        Ok(())
    }
}
