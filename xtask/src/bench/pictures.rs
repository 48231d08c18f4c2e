//! Pictures of curves: SVG, one for each kind.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::line::{Curve, Line};
use crate::{paths, vm::Kernel};

/// Title and axes of a kind; both axes are logarithmic but for shares.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("latency-idle", "Write to notice, idle", "µs", "share of writes"),
    ("latency-loaded", "Write to notice, while another file is written", "µs", "share of writes"),
    ("cost", "A write of 64 bytes, by number of other interests", "interests + 1", "ns"),
    ("fan-out", "One change to all clients, by their number", "clients", "µs until the last"),
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
    for (kind, title, x, y) in KINDS {
        if let Some(curves) = kinds.get(kind) {
            let where_ = kernel.map_or_else(|| "native".to_owned(), |kernel| format!("vm-{kernel}"));
            let file = dir.join(format!("{kind}-{where_}.svg"));
            picture(&file, [title, x, y], curves)
                .with_context(|| format!("cannot draw {}", file.display()))?;
        }
    }
    Ok(())
}

fn picture(file: &Path, [title, x, y]: [&str; 3], curves: &[&Curve]) -> Result<()> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let error = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    area.fill(&WHITE).map_err(error)?;
    let across = range(curves, |point| point.0).log_scale();
    let mut builder = ChartBuilder::on(&area);
    builder.caption(title, ("sans-serif", 20)).margin(16).x_label_area_size(44).y_label_area_size(64);
    // A share is read off a straight scale, all else grows by powers.
    if y.starts_with("share") {
        let mut chart = builder.build_cartesian_2d(across, 0.0..1.0).map_err(error)?;
        chart.configure_mesh().x_desc(x).y_desc(y).draw().map_err(error)?;
        series!(chart, curves, error);
    } else {
        let upward = range(curves, |point| point.1).log_scale();
        let mut chart = builder.build_cartesian_2d(across, upward).map_err(error)?;
        chart.configure_mesh().x_desc(x).y_desc(y).draw().map_err(error)?;
        series!(chart, curves, error);
    }
    area.present().map_err(error)
}

/// Draws the curves and their legend; a macro, as the two kinds of chart are of two types.
macro_rules! series {
    ($chart:ident, $curves:ident, $error:ident) => {
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
        for y in ["ns", "share of writes"] {
            picture(&file, ["a title", "x axis", y], &[&curve])?;
            let text = fs::read_to_string(&file)?;
            assert!(["a title", "a label", "x axis", y].iter().all(|word| text.contains(word)), "{text}");
        }
        Ok(())
    }
}
