//! Between the wire's words and the table's.

use upcall_common::wire::{
    self, Code, Done, Extended, GrantFlags, Leased, LockConflict, LockGranted, LockKind, Locked, OpenGranted,
    Opened, StateAnswer, StateBegun, StateRequest, StateUpcall,
};

use crate::{
    hold,
    state::{self, Granted, Range, Refusal},
};

macro_rules! same {
    ($($type:ident { $($variant:ident),* })*) => {$(
        impl From<wire::$type> for state::$type {
            fn from(it: wire::$type) -> Self {
                match it { $(wire::$type::$variant => Self::$variant),* }
            }
        }

        impl From<state::$type> for wire::$type {
            fn from(it: state::$type) -> Self {
                match it { $(state::$type::$variant => Self::$variant),* }
            }
        }
    )*};
}

same! {
    Access { Read, Write, Both }
    Deny { None, Read, Write, Both }
    LeaseKind { Read, Write }
    Keep { None, Read }
    LockKind { Read, Write }
}

impl From<state::LeaseKind> for hold::LeaseKind {
    fn from(kind: state::LeaseKind) -> Self {
        match kind {
            state::LeaseKind::Read => Self::Read,
            state::LeaseKind::Write => Self::Write,
        }
    }
}

impl From<state::LockKind> for hold::RangeKind {
    fn from(kind: state::LockKind) -> Self {
        match kind {
            state::LockKind::Read => Self::Read,
            state::LockKind::Write => Self::Write,
        }
    }
}

impl From<state::Deny> for hold::Deny {
    fn from(deny: state::Deny) -> Self {
        Self { read: deny.denies_read(), write: deny.denies_write() }
    }
}

impl From<Range> for hold::Range {
    fn from(range: Range) -> Self {
        Self { start: range.start(), length: range.length() }
    }
}

impl From<state::Who> for wire::Who {
    fn from(who: state::Who) -> Self {
        match who {
            state::Who::Unknown => Self::Unknown,
            state::Who::Process(pid) => Self::Process(pid),
            state::Who::Client(name) => Self::Client(name),
        }
    }
}

impl From<&Refusal> for Code {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotBegun => Self::NotBegun,
            Refusal::IdentityInUse => Self::IdentityInUse,
            Refusal::TooManyClients => Self::TooManyClients,
            Refusal::Grace => Self::Grace,
            Refusal::NoReclaim => Self::NoReclaim,
            Refusal::NotOpen => Self::NotOpen,
            Refusal::NotCarried | Refusal::Carries => Self::NotCarried,
            Refusal::NotPermitted => Self::NotPermitted,
            Refusal::NotHeld => Self::NotHeld,
            Refusal::NotRecalled => Self::NotRecalled,
            Refusal::Extended => Self::Extended,
            Refusal::Conflict(_) => Self::Conflict,
            Refusal::Recalling => Self::Recalling,
            Refusal::Backoff => Self::Backoff,
            Refusal::LocalConflict(_) => Self::LocalConflict,
            Refusal::Unsupported => Self::Unsupported,
            Refusal::Deadlock => Self::Deadlock,
            Refusal::Cancelled => Self::Cancelled,
            Refusal::Released => Self::Released,
            Refusal::NotWaiting => Self::NoRequest,
            Refusal::TooManyOpens => Self::TooManyOpens,
            Refusal::TooManyLeases => Self::TooManyLeases,
            Refusal::TooManyLocks => Self::TooManyLocks,
            Refusal::TooManyWaiting => Self::TooManyWaiting,
        }
    }
}

/// What an outcome says: its code, and a text for a person.
pub(super) fn said<T>(outcome: &Result<T, Refusal>) -> (Code, String) {
    let Err(refusal) = outcome else { return (Code::Ok, String::new()) };
    let text = match refusal {
        Refusal::Conflict(who) | Refusal::LocalConflict(who) if *who != state::Who::Unknown => {
            format!("{refusal} ({})", wire::Who::from(who.clone()))
        }
        _ => refusal.to_string(),
    };
    (refusal.into(), text)
}

pub(super) fn done<T>(outcome: &Result<T, Refusal>) -> StateAnswer {
    let (code, text) = said(outcome);
    StateAnswer::Done(Done { code, text })
}

/// What an answer says.
pub(super) fn outcome(answer: &StateAnswer) -> (Code, &str) {
    match answer {
        StateAnswer::StateBegun(StateBegun { code, text, .. })
        | StateAnswer::Opened(Opened { code, text, .. })
        | StateAnswer::Leased(Leased { code, text, .. })
        | StateAnswer::Extended(Extended { code, text, .. })
        | StateAnswer::Locked(Locked { code, text, .. })
        | StateAnswer::LockConflict(LockConflict { code, text, .. })
        | StateAnswer::Done(Done { code, text }) => (*code, text),
        StateAnswer::StateShown(_) => (Code::Ok, ""),
    }
}

/// What a request is for that may be answered later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Open { file: u64 },
    Change,
    Lease,
    Lock { open: u64, owner: u64 },
}

type Outcome = Result<Granted, Refusal>;

fn granted(outcome: &Outcome) -> (GrantFlags, u64) {
    let (advisory, open) = match *outcome {
        Ok(Granted::Opened { open, advisory }) => (advisory, open.0),
        Ok(
            Granted::Changed { advisory } | Granted::Leased { advisory, .. } | Granted::Locked { advisory },
        ) => (advisory, 0),
        Err(_) => (false, 0),
    };
    (GrantFlags { advisory }, open)
}

impl Wanted {
    pub(super) fn answer(self, outcome: &Outcome) -> StateAnswer {
        let (code, text) = said(outcome);
        let (flags, open) = granted(outcome);
        match self {
            Self::Open { file } => {
                let file = if outcome.is_ok() { file } else { 0 };
                StateAnswer::Opened(Opened { code, flags, open, file, request: 0, text })
            }
            Self::Change => StateAnswer::Done(Done { code, text }),
            Self::Lease => StateAnswer::Leased(Leased { code, flags, text }),
            Self::Lock { .. } => StateAnswer::Locked(Locked { code, flags, request: 0, text }),
        }
    }

    /// That the outcome comes later; `None` if the protocol has no such answer.
    pub(super) fn waiting(self, request: u64) -> Option<StateAnswer> {
        let (code, flags, text) = (Code::Waiting, GrantFlags::default(), String::new());
        match self {
            Self::Open { .. } => {
                Some(StateAnswer::Opened(Opened { code, flags, open: 0, file: 0, request, text }))
            }
            Self::Lock { .. } => Some(StateAnswer::Locked(Locked { code, flags, request, text })),
            Self::Change | Self::Lease => None,
        }
    }

    /// The outcome, later.
    pub(super) fn upcall(self, request: u64, outcome: &Outcome) -> Option<StateUpcall> {
        let (code, text) = said(outcome);
        let (flags, opened) = granted(outcome);
        match self {
            Self::Open { file } => {
                let (open, file) = (opened, if outcome.is_ok() { file } else { 0 });
                Some(StateUpcall::OpenGranted(OpenGranted { request, code, flags, open, file, text }))
            }
            Self::Lock { open, owner } => {
                Some(StateUpcall::LockGranted(LockGranted { request, code, flags, open, owner, text }))
            }
            Self::Change | Self::Lease => None,
        }
    }
}

/// The answer to a request that the table has not seen.
pub fn refused(request: &StateRequest, code: Code, text: String) -> StateAnswer {
    let flags = GrantFlags::default();
    match request {
        StateRequest::StateBegin(_) => StateAnswer::StateBegun(StateBegun {
            code,
            means: wire::Means::default(),
            recall_ms: 0,
            grace_ms: 0,
            reclaim_ms: 0,
            text,
        }),
        StateRequest::Open(_) => {
            StateAnswer::Opened(Opened { code, flags, open: 0, file: 0, request: 0, text })
        }
        StateRequest::Lease(_) => StateAnswer::Leased(Leased { code, flags, text }),
        StateRequest::Extend(_) => StateAnswer::Extended(Extended { code, deadline_ms: 0, text }),
        StateRequest::Lock(_) => StateAnswer::Locked(Locked { code, flags, request: 0, text }),
        StateRequest::LockTest(test) => StateAnswer::LockConflict(LockConflict {
            code,
            kind: test.kind,
            start: test.start,
            length: test.length,
            who: wire::Who::Unknown,
            text,
        }),
        _ => StateAnswer::Done(Done { code, text }),
    }
}

/// The strongest that may be kept after a break of the kernel's.
pub(super) fn keep(kept: Option<hold::LeaseKind>) -> state::Keep {
    match kept {
        None => state::Keep::None,
        Some(_) => state::Keep::Read,
    }
}

/// Milliseconds as frames have them.
pub(super) fn ms(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// For `LOCK_CONFLICT`.
pub(super) fn blocker(
    found: Option<(Code, LockKind, hold::Range, wire::Who)>,
    test: &wire::LockTest,
) -> StateAnswer {
    let (code, kind, range, who) = found.unwrap_or((
        Code::Ok,
        test.kind,
        hold::Range { start: test.start, length: test.length },
        wire::Who::Unknown,
    ));
    let hold::Range { start, length } = range;
    StateAnswer::LockConflict(LockConflict { code, kind, start, length, who, text: String::new() })
}
