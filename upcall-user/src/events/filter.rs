//! Which events a client wants to see.

use serde::{Deserialize, Serialize};

use super::LiveEvent;

/// All that are given must match.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct EventFilter {
    pub pid: Option<u32>,
    pub comm: Option<String>,
    /// Beginning of the path.
    pub path: Option<String>,
    pub op: Option<String>,
}

impl EventFilter {
    /// From the JSON object of an EVENTS frame; an empty body means everything.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() { Ok(Self::default()) } else { serde_json::from_str(text) }
    }

    pub fn passes(&self, event: &LiveEvent) -> bool {
        self.pid.is_none_or(|pid| pid == event.pid)
            && (self.comm.is_none() || self.comm == event.comm)
            && self.op.as_ref().is_none_or(|op| op == event.op)
            && self
                .path
                .as_ref()
                .is_none_or(|prefix| event.path.as_ref().is_some_and(|path| path.starts_with(prefix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_passes_everything_and_an_unknown_field_changes_nothing() {
        assert_eq!(EventFilter::parse("").expect("empty"), EventFilter::default());
        assert_eq!(EventFilter::parse(r#"{"pid":7}"#).expect("pid").pid, Some(7));
        assert_eq!(EventFilter::parse(r#"{"newer":7,"pid":7}"#).expect("pid").pid, Some(7));
        assert!(EventFilter::parse(r#"{"pid":"seven"}"#).is_err());
    }
}
