//! What a run says: figures, curves and what there is none of, one JSON object a line.

use std::io::{self, Write};

use ::tests::daemon::Daemon;
use anyhow::Result;
use serde::Serialize;

use crate::stats::{median, paired_ratio};

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    None,
}

impl Target {
    /// What a write may cost beside one without a daemon: trampolines cost something wherever they are, tracepoints of
    /// timestamps do not.
    pub fn of_writes(daemon: &Daemon) -> Result<Self> {
        let by_timestamps = daemon.status()?["source"] == "timestamp";
        Ok(if by_timestamps { Self::RatioAtMost(1.03) } else { Self::None })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: Option<f64>,
    pub peer_name: Option<String>,
    pub ratio: Option<f64>,
    pub target: Option<String>,
    pub met: Option<bool>,
}

/// A line in a picture.
#[derive(Debug, Serialize)]
struct Curve<'a> {
    curve: &'a str,
    label: &'a str,
    points: &'a [(f64, f64)],
}

/// Why there are no figures, or not all.
#[derive(Debug, Serialize)]
struct Note<'a> {
    part: &'a str,
    outcome: &'a str,
    why: &'a str,
}

impl Figure {
    pub fn alone(name: impl Into<String>, unit: &'static str, ours: f64, target: Target) -> Self {
        let figure = Self {
            name: name.into(),
            unit,
            ours,
            peer: None,
            peer_name: None,
            ratio: None,
            target: None,
            met: None,
        };
        figure.judged(target)
    }

    pub fn beside(
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
        (peer_name, peer): (&str, f64),
        target: Target,
    ) -> Self {
        Self { ratio: Some(ours / peer), ..Self::alone(name, unit, ours, Target::None) }
            .with_peer(peer_name, peer)
            .judged(target)
    }

    /// Of values measured side by side: their medians, and the median of their ratios.
    pub fn paired(
        name: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        (peer_name, peer): (&str, &[f64]),
        target: Target,
    ) -> Self {
        let ratio = Some(paired_ratio(ours, peer));
        Self { ratio, ..Self::alone(name, unit, median(ours), Target::None) }
            .with_peer(peer_name, median(peer))
            .judged(target)
    }

    fn with_peer(self, name: &str, peer: f64) -> Self {
        Self { peer: Some(peer), peer_name: Some(name.to_owned()), ..self }
    }

    /// A ratio that does not exist, or is none, meets nothing.
    fn judged(self, target: Target) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let (target, met) = match target {
            Target::RatioAtMost(most) => (format!("ratio <= {most}"), ratio <= most),
            Target::RatioAtLeast(least) => (format!("ratio >= {least}"), ratio >= least),
            Target::AtMost(most) => (format!("<= {most} {}", self.unit), self.ours <= most),
            Target::None => return Self { target: None, met: None, ..self },
        };
        Self { target: Some(target), met: Some(met), ..self }
    }

    pub fn print(&self) -> io::Result<()> {
        line(self)
    }
}

pub fn curve(curve: &str, label: &str, points: &[(f64, f64)]) -> io::Result<()> {
    line(&Curve { curve, label, points })
}

pub fn skipped(part: &str, why: &str) -> io::Result<()> {
    line(&Note { part, outcome: "skipped", why })
}

pub fn failed(part: &str, error: &anyhow::Error) -> io::Result<()> {
    line(&Note { part, outcome: "failed", why: &in_one_line(&format!("{error:#}")) })
}

/// For the cell of a table.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    // At once, as one write: in a machine the console is shared.
    io::stdout().lock().write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_or_not() {
        let met = |ours, target| Figure::beside("x", "us", ours, ("inotify", 10.0), target).met;
        assert_eq!(met(25.0, Target::RatioAtMost(2.5)), Some(true));
        assert_eq!(met(25.1, Target::RatioAtMost(2.5)), Some(false));
        assert_eq!(met(10.0, Target::RatioAtLeast(1.0)), Some(true));
        assert_eq!(met(9.9, Target::RatioAtLeast(1.0)), Some(false));
        assert_eq!(met(9.9, Target::None), None);
        assert_eq!(Figure::alone("x", "B", 301.0, Target::AtMost(300.0)).met, Some(false));
        assert_eq!(Figure::alone("x", "B", 300.0, Target::RatioAtMost(1.0)).met, Some(false));
        assert_eq!(met(f64::NAN, Target::RatioAtMost(1.0)), Some(false));
    }

    #[test]
    fn the_ratio_of_pairs_is_not_that_of_their_medians() {
        let (ours, peer) = ([2.0, 20.0, 60.0], [1.0, 4.0, 15.0]);
        let figure = Figure::paired("x", "us", &ours, ("inotify", &peer), Target::RatioAtMost(4.0));
        assert_eq!((figure.ours, figure.peer, figure.ratio), (20.0, Some(4.0), Some(4.0)));
        assert_eq!(figure.met, Some(true));
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(in_one_line("its log:\n  no\tBTF\n"), "its log: no BTF");
    }

    #[test]
    fn a_figure_is_one_object() {
        let figure = Figure::beside("latency", "us", 20.0, ("inotify", 10.0), Target::RatioAtMost(2.5));
        let text = serde_json::to_string(&figure).unwrap_or_default();
        let expected = r#"{"name":"latency","unit":"us","ours":20.0,"peer":10.0,"peer_name":"inotify","ratio":2.0,"target":"ratio <= 2.5","met":true}"#;
        assert_eq!(text, expected);
    }
}
