//! What the measuring program prints.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Curve(Curve),
    Figure(Figure),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Line {
    /// A machine's console has other lines as well.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }

    pub(super) fn figure(&self) -> Option<Figure> {
        match self {
            Self::Figure(figure) => Some(figure.clone()),
            Self::Curve(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_curves_are_found_among_other_lines() {
        let figure = r#"{"name":"x","unit":"us","ours":1.5,"peer":null,"peer_name":null,"ratio":null,"target":null,"met":null}"#;
        let parsed = Line::parse(&format!("{figure}\r")).and_then(|line| line.figure());
        assert_eq!(parsed.map(|figure| (figure.name, figure.ours)), Some(("x".into(), 1.5)));
        let curve = r#"{"curve":"latency","label":"inotify","points":[[1.0,0.5],[2.0,1.0]]}"#;
        let expected =
            Curve { curve: "latency".into(), label: "inotify".into(), points: vec![(1.0, 0.5), (2.0, 1.0)] };
        assert_eq!(Line::parse(curve), Some(Line::Curve(expected)));
        assert_eq!(Line::parse("init: success"), None);
        assert_eq!(Line::parse("{}"), None);
    }
}
