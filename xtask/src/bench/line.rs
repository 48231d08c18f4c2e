//! What the measuring program prints.

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Curve(Curve),
    Figure(Figure),
    Note(Note),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) ours: f64,
    pub(super) peer: Option<f64>,
    pub(super) peer_name: Option<String>,
    pub(super) ratio: Option<f64>,
    pub(super) target: Option<String>,
    pub(super) met: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Curve {
    /// The picture that it belongs to.
    pub(super) curve: String,
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Why there are no figures of a part, or not all.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Note {
    pub(super) part: String,
    /// `skipped` or `failed`.
    pub(super) outcome: String,
    pub(super) why: String,
}

impl Line {
    /// A machine's console has other lines as well.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_curves_and_notes_are_found_among_other_lines() {
        let figure = r#"{"name":"x","unit":"us","ours":1.5,"peer":null,"peer_name":null,"ratio":null,"target":null,"met":null}"#;
        let parsed = Line::parse(&format!("{figure}\r"));
        assert!(matches!(parsed, Some(Line::Figure(Figure { ours: 1.5, .. }))), "{parsed:?}");
        let note = r#"{"part":"watchman","outcome":"skipped","why":"it is not installed"}"#;
        let expected =
            Note { part: "watchman".into(), outcome: "skipped".into(), why: "it is not installed".into() };
        assert_eq!(Line::parse(note), Some(Line::Note(expected)));
        let curve = r#"{"curve":"latency","label":"inotify","points":[[1.0,0.5],[2.0,1.0]]}"#;
        let expected =
            Curve { curve: "latency".into(), label: "inotify".into(), points: vec![(1.0, 0.5), (2.0, 1.0)] };
        assert_eq!(Line::parse(curve), Some(Line::Curve(expected)));
        assert_eq!(Line::parse("init: success"), None);
        assert_eq!(Line::parse("{}"), None);
    }
}
