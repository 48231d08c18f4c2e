//! Notices about what is held, as a line. Pure.

use serde_json::{Value, json};
use upcall_client::{Notice, StateNotice, Who};

/// For a script and for a person; `None`: of no concern to who holds something.
pub(super) fn line(notice: &Notice) -> Option<(Value, String)> {
    Some(match notice {
        Notice::State(notice) => return state(notice),
        Notice::Disconnected { reason } => {
            let line = json!({"type": "disconnected", "reason": reason});
            (line, format!("disconnected: {reason}"))
        }
        Notice::Reconnected => (json!({"type": "reconnected"}), "reconnected".into()),
        _ => return None,
    })
}

/// What is gone for good with this notice.
pub(super) fn lost(notice: &Notice) -> Option<String> {
    match notice {
        Notice::State(StateNotice::Revoked { .. }) => Some("the lease was revoked".into()),
        Notice::State(StateNotice::OpenLost { error, .. }) => Some(format!("the open is lost: {error}")),
        Notice::State(StateNotice::LeaseLost { error, .. }) => Some(format!("the lease is lost: {error}")),
        Notice::State(StateNotice::LockLost { error, .. }) => Some(format!("the lock is lost: {error}")),
        _ => None,
    }
}

fn state(notice: &StateNotice) -> Option<(Value, String)> {
    Some(match notice {
        StateNotice::Recall { held, keep, deadline, who, .. } => {
            let line = json!({"type": "recall", "held": held.as_str(), "keep": keep.as_str(),
                "deadline_ms": deadline.as_millis(), "who": whom(who)});
            (line, format!("recall of the {held} lease within {} ms: {who}", deadline.as_millis()))
        }
        StateNotice::Revoked { kind, .. } => {
            let line = json!({"type": "revoked", "kind": kind.as_str()});
            (line, format!("the {kind} lease is revoked"))
        }
        StateNotice::Contention { start, length, who, .. } => {
            let line = json!({"type": "contention", "start": start, "length": length, "who": whom(who)});
            (line, format!("{who} waits for {start}:{length}"))
        }
        StateNotice::OpenLost { error, .. } => {
            (json!({"type": "open_lost", "code": error.code.as_str()}), format!("the open is lost: {error}"))
        }
        StateNotice::LeaseLost { kind, error, .. } => {
            let line = json!({"type": "lease_lost", "kind": kind.as_str(), "code": error.code.as_str()});
            (line, format!("the {kind} lease is lost: {error}"))
        }
        StateNotice::LockLost { start, length, error, .. } => {
            let code = error.code.as_str();
            let line = json!({"type": "lock_lost", "start": start, "length": length, "code": code});
            (line, format!("the lock of {start}:{length} is lost: {error}"))
        }
        _ => return None,
    })
}

fn whom(who: &Who) -> Value {
    match who {
        Who::Unknown => Value::Null,
        Who::Process(pid) => json!({"pid": pid}),
        Who::Client(name) => json!({"client": name}),
    }
}
