//! Pictures of curves: SVG, one for each kind.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::line::{Curve, Line};
use crate::{paths, vm::Kernel};

/// A picture of curves that have its name.
struct Kind {
    name: &'static str,
    title: &'static str,
    across: &'static str,
    upward: &'static str,
    scale: Scale,
}

/// Of the values; what they are drawn against grows by powers always.
#[derive(Clone, Copy)]
enum Scale {
    /// From 0 to 1.
    Share,
    /// From 0, so that what is flat looks flat.
    Straight,
    Powers,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "latency-idle",
        title: "Write to notice, idle",
        across: "µs",
        upward: "share of writes",
        scale: Scale::Share,
    },
    Kind {
        name: "latency-loaded",
        title: "Write to notice, while another file is written",
        across: "µs",
        upward: "share of writes",
        scale: Scale::Share,
    },
    Kind {
        name: "latency-interests",
        title: "Write to notice, by number of other interests",
        across: "interests + 1",
        upward: "µs",
        scale: Scale::Powers,
    },
    Kind {
        name: "cost",
        title: "A write of 64 bytes, by number of other interests",
        across: "interests + 1",
        upward: "ns",
        scale: Scale::Straight,
    },
    Kind {
        name: "clients",
        title: "A write of 64 bytes to a watched file, by number of clients",
        across: "clients",
        upward: "ns",
        scale: Scale::Straight,
    },
    Kind {
        name: "fan-out",
        title: "One change to all clients, by their number",
        across: "clients",
        upward: "µs until the last",
        scale: Scale::Powers,
    },
];

const SIZE: (u32, u32) = (800, 480);

pub(super) fn draw(kernel: Option<Kernel>, lines: &[Line]) -> Result<()> {
    let dir = paths::root().join("docs/bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut kinds: BTreeMap<&str, Vec<&Curve>> = BTreeMap::new();
    for line in lines {
        if let Line::Curve(curve) = line {
            kinds.entry(&curve.curve).or_default().push(curve);
        }
    }
    let place = kernel.map_or_else(|| "native".to_owned(), |kernel| format!("vm-{kernel}"));
    for kind in KINDS {
        if let Some(curves) = kinds.get(kind.name) {
            let file = dir.join(format!("{}-{place}.svg", kind.name));
            picture(&file, &kind, curves).with_context(|| format!("cannot draw {}", file.display()))?;
        }
    }
    Ok(())
}

fn picture(file: &Path, kind: &Kind, curves: &[&Curve]) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let error = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    area.fill(&WHITE).map_err(error)?;
    let across = range(curves, |point| point.0).log_scale();
    let mut builder = ChartBuilder::on(&area);
    builder.caption(kind.title, ("sans-serif", 20)).margin(16).x_label_area_size(44).y_label_area_size(64);
    if let Scale::Powers = kind.scale {
        let upward = range(curves, |point| point.1).log_scale();
        let mut chart = builder.build_cartesian_2d(across, upward).map_err(error)?;
        series!(chart, kind, curves, error);
    } else {
        let most =
            if let Scale::Share = kind.scale { 1.0 } else { range(curves, |point| point.1).end * 1.25 };
        let mut chart = builder.build_cartesian_2d(across, 0.0..most).map_err(error)?;
        series!(chart, kind, curves, error);
    }
    area.present().map_err(error)
}

/// Draws the axes, the curves and their legend; a macro, as the two kinds of chart are of two types.
macro_rules! series {
    ($chart:ident, $kind:ident, $curves:ident, $error:ident) => {
        $chart.configure_mesh().x_desc($kind.across).y_desc($kind.upward).draw().map_err($error)?;
        for (number, curve) in $curves.iter().enumerate() {
            let style = Palette99::pick(number).stroke_width(2);
            let drawn =
                $chart.draw_series(LineSeries::new(curve.points.iter().copied(), style)).map_err($error)?;
            drawn
                .label(curve.label.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        $chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err($error)?;
    };
}
use series;

/// All values, which a logarithmic axis needs to be above 0 and apart.
fn range(curves: &[&Curve], value: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
    let values = || curves.iter().flat_map(|curve| &curve.points).map(&value).filter(|value| *value > 0.0);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if least < most { least..most } else { most.max(1.0) / 2.0..most.max(1.0) * 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve { curve: "cost".into(), label: "a label".into(), points: points.to_vec() }
    }

    #[test]
    fn an_axis_spans_all_values() {
        let (one, two) = (curve(&[(1.0, 5.0), (4.0, 0.0)]), curve(&[(2.0, 9.0)]));
        assert_eq!(range(&[&one, &two], |point| point.0), 1.0..4.0);
        assert_eq!(range(&[&one, &two], |point| point.1), 5.0..9.0);
        assert_eq!(range(&[&two], |point| point.0), 1.0..4.0);
        assert_eq!(range(&[], |point| point.0), 0.5..2.0);
    }

    #[test]
    fn a_picture_shows_its_labels() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("picture.svg");
        let curve = curve(&[(1.0, 5.0), (10.0, 6.0)]);
        for kind in KINDS {
            picture(&file, &kind, &[&curve])?;
            let text = fs::read_to_string(&file)?;
            let words = [kind.title, "a label", kind.across, kind.upward];
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
        Ok(())
    }

    /// What is flat lies at the same height, far above the axis.
    #[test]
    fn a_straight_scale_begins_at_0() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("picture.svg");
        let kind = KINDS.into_iter().find(|kind| kind.name == "cost").context("no such kind")?;
        picture(&file, &kind, &[&curve(&[(1.0, 100.0), (10.0, 101.0)])])?;
        let text = fs::read_to_string(&file)?;
        assert!(text.contains("\n0.0\n") || text.contains("\n0\n"), "{text}");
        Ok(())
    }
}
