//! What happens to state held for clients, as an event that a person reads.

use serde::Serialize;

/// One event, as `upcall debug --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct StateEvent {
    /// Seconds since the machine started.
    pub time: f64,
    pub op: StateOp,
    /// The client's; null where the client has ended.
    pub client: Option<String>,
    /// Of the client's process; 0: unknown.
    pub pid: u32,
    pub path: Option<String>,
    /// The number of the client's open; 0: it has none yet.
    pub open: u64,
    /// Null: of all that the open carries.
    #[serde(flatten)]
    pub what: Option<What>,
    /// Who is in the way, or wants it.
    pub who: Option<Whom>,
    /// Why it is refused.
    pub code: Option<&'static str>,
    pub text: Option<String>,
    /// Of a recall.
    pub deadline_ms: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOp {
    Grant,
    Refuse,
    Recall,
    Extend,
    Return,
    Revoke,
    Contention,
    Unlock,
    Close,
    /// An open ends that was not reclaimed.
    Lapse,
}

impl StateOp {
    pub const ALL: [Self; 10] = [
        Self::Grant,
        Self::Refuse,
        Self::Recall,
        Self::Extend,
        Self::Return,
        Self::Revoke,
        Self::Contention,
        Self::Unlock,
        Self::Close,
        Self::Lapse,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Refuse => "refuse",
            Self::Recall => "recall",
            Self::Extend => "extend",
            Self::Return => "return",
            Self::Revoke => "revoke",
            Self::Contention => "contention",
            Self::Unlock => "unlock",
            Self::Close => "close",
            Self::Lapse => "lapse",
        }
    }
}

/// Of what an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum What {
    Open { access: &'static str, deny: &'static str },
    Lease { kind: &'static str },
    Lock { owner: u64, kind: Option<&'static str>, start: u64, length: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    Pid(u32),
    Client(String),
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Event, EventFilter},
        *,
    };

    fn recall() -> StateEvent {
        StateEvent {
            time: 1.5,
            op: StateOp::Recall,
            client: Some("b".into()),
            pid: 7,
            path: Some("/srv/a".into()),
            open: 3,
            what: Some(What::Lease { kind: "write" }),
            who: Some(Whom::Pid(42)),
            code: None,
            text: None,
            deadline_ms: Some(60_000),
        }
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let json: serde_json::Value =
            serde_json::from_str(&Event::State(recall()).to_json(2)).expect("an object");
        let expected = serde_json::json!({
            "type": "state", "time": 1.5, "op": "recall", "client": "b", "pid": 7, "path": "/srv/a", "open": 3,
            "what": "lease", "kind": "write", "who": {"pid": 42}, "code": null, "text": null,
            "deadline_ms": 60_000, "lost": 2,
        });
        assert_eq!(json, expected);
        for op in StateOp::ALL {
            assert_eq!(serde_json::to_value(op).expect("a name"), op.name());
        }
    }

    #[test]
    fn filters_look_at_the_client_and_the_file() {
        let passes =
            |filter: &str| EventFilter::parse(filter).expect("a filter").passes(&Event::State(recall()));
        for filter in ["", r#"{"pid":7}"#, r#"{"op":"recall"}"#, r#"{"path":"/srv"}"#] {
            assert!(passes(filter), "{filter}");
        }
        for filter in [r#"{"pid":42}"#, r#"{"op":"write"}"#, r#"{"path":"/a"}"#, r#"{"comm":"b"}"#] {
            assert!(!passes(filter), "{filter}");
        }
    }
}
