//! Figures for people.

use super::line::{Figure, Line, Note};

const HEAD: [&str; 7] = ["figure", "upcall", "peer", "", "ratio", "target", "met"];

/// A table of aligned columns, and what there is none of.
pub(super) fn text(lines: &[Line]) -> String {
    let figures = lines.iter().filter_map(|line| match line {
        Line::Figure(figure) => Some(cells(figure)),
        Line::Curve(_) | Line::Note(_) => None,
    });
    let rows: Vec<_> = std::iter::once(HEAD.map(String::from)).chain(figures).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for line in lines {
        if let Line::Note(Note { part, outcome, why }) = line {
            out.push_str(&format!("{outcome}: {part}: {why}\n"));
        }
    }
    out
}

/// The same as Markdown: a row for each line that is no curve.
pub(super) fn markdown(lines: &[Line]) -> String {
    let row =
        |cells: [String; 7]| format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    let mut out = row(HEAD.map(String::from));
    out.push_str("| --- | ---: | ---: | --- | ---: | --- | --- |\n");
    out.extend(lines.iter().filter_map(|line| match line {
        Line::Figure(figure) => Some(row(cells(figure))),
        Line::Note(Note { part, outcome, why }) => {
            let mut cells = [const { String::new() }; 7];
            (cells[0], cells[1]) = (part.clone(), format!("{outcome}: {why}"));
            Some(row(cells))
        }
        Line::Curve(_) => None,
    }));
    out
}

fn cells(figure: &Figure) -> [String; 7] {
    let with_unit = |value| format!("{} {}", number(value), figure.unit);
    [
        figure.name.clone(),
        with_unit(figure.ours),
        figure.peer.map_or_else(String::new, with_unit),
        figure.peer_name.clone().unwrap_or_default(),
        figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        figure.target.clone().unwrap_or_default(),
        figure.met.map_or("", |met| if met { "yes" } else { "no" }).into(),
    ]
}

/// Three digits that matter, thousands set apart.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let long = Figure {
            name: "latency".into(),
            unit: "us".into(),
            ours: 12.34,
            peer: Some(6.0),
            peer_name: Some("inotify".into()),
            ratio: Some(2.0567),
            target: Some("ratio <= 2.5".into()),
            met: Some(true),
        };
        let short = Figure {
            name: "x".into(),
            unit: "B".into(),
            ours: 1_234_567.0,
            peer: None,
            peer_name: None,
            ratio: None,
            target: None,
            met: None,
        };
        let note = Note { part: "a|b".into(), outcome: "skipped".into(), why: "gone".into() };
        vec![Line::Note(note), Line::Figure(long), Line::Figure(short)]
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "figure   upcall       peer              ratio  target        met\n\
                        latency  12.3 us      6.00 us  inotify  2.057  ratio <= 2.5  yes\n\
                        x        1,234,567 B\n\
                        skipped: a|b: gone\n";
        assert_eq!(text(&lines()), expected);
    }

    #[test]
    fn markdown_has_the_same_cells() {
        let table = markdown(&lines());
        assert!(table.contains("| a\\|b | skipped: gone |  |  |  |  |  |\n"), "{table}");
        assert!(table.contains("| latency | 12.3 us | 6.00 us | inotify | 2.057 | ratio <= 2.5 | yes |\n"));
        let table = table.replace("\\|", "");
        assert!(table.lines().all(|line| line.matches('|').count() == 8), "{table}");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.123, 9.99, 12.34, 123.4, 1234.5, 1_000_000.0, -2500.0].map(number);
        assert_eq!(shown, ["0", "0.12", "9.99", "12.3", "123", "1,235", "1,000,000", "-2,500"]);
    }
}
