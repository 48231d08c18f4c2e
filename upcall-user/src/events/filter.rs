//! Which events a client wants to see.

use serde::{Deserialize, Serialize};

use super::Event;

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

    pub fn passes(&self, event: &Event) -> bool {
        let (op, path, comm) = match event {
            Event::Change(change) => (change.op, &change.path, change.comm.as_ref()),
            Event::State(state) => (state.op.name(), &state.path, None),
        };
        self.pid.is_none_or(|pid| pid == event.pid())
            && (self.comm.is_none() || self.comm.as_ref() == comm)
            && self.op.as_ref().is_none_or(|wanted| wanted == op)
            && self
                .path
                .as_ref()
                .is_none_or(|prefix| path.as_ref().is_some_and(|path| path.starts_with(prefix)))
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
