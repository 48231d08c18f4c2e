//! BENCHMARKS.md: one section for each kernel, rewritten by a run there.

use std::fs;

use anyhow::{Context, Result, bail};

use super::{line::Line, machine::About, table};
use crate::{paths, vm::Kernel};

/// Replaces the section of this kernel. A `part` of the measures replaces its own rows alone, and says how it was made
/// beside what says so of the others.
pub(super) fn keep(kernel: Option<Kernel>, about: &About, lines: &[Line], part: Option<&str>) -> Result<()> {
    let path = paths::root().join("BENCHMARKS.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let section = kernel.map_or_else(|| "native".to_owned(), |kernel| format!("vm {kernel}"));
    let (before, old, after) = split(&text, &section)?;
    let old = part.map_or_else(String::new, |part| without_notes(old, part));
    let body = merged(&old, about, &table::markdown(lines));
    fs::write(&path, format!("{before}{body}{after}"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// What was skipped of a part, or why it failed, is known anew.
fn without_notes(section: &str, part: &str) -> String {
    let is_note = |row: &str| cell(row, 1).starts_with("skipped: ") || cell(row, 1).starts_with("failed: ");
    let kept = section.lines().filter(|row| !(is_note(row) && cell(row, 0).contains(part)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// What is before, in and after a section; its marks are not in it.
fn split<'a>(text: &'a str, section: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let (begin, end) = (format!("<!-- begin {section} -->\n"), format!("<!-- end {section} -->\n"));
    let start = text.find(&begin).map(|at| at + begin.len());
    let parts = start.and_then(|start| Some((start, start + text.get(start..)?.find(&end)?)));
    let parts =
        parts.and_then(|(start, end)| Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?)));
    match parts {
        Some(parts) => Ok(parts),
        None => bail!("BENCHMARKS.md has no lines {begin:?} and {end:?}"),
    }
}

/// A section with its old lines, but for those that there are new ones of.
fn merged(old: &str, about: &About, table: &str) -> String {
    let (rows, lines): (Vec<_>, Vec<_>) =
        old.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('|'));
    let by = format!("`{}`:", about.command);
    let others = lines.into_iter().filter(|line| !line.ends_with(&by));
    let mut out: String = others.map(|line| format!("{line}\n\n")).collect();
    out.push_str(&format!("{}, by {by}\n\n", about.machine));
    let mut new: Vec<&str> = table.lines().collect();
    let mut kept = Vec::new();
    for row in rows {
        match new.iter().position(|line| cell(line, 0) == cell(row, 0) && cell(line, 3) == cell(row, 3)) {
            Some(at) => kept.push(new.remove(at)),
            None => kept.push(row),
        }
    }
    for line in kept.into_iter().chain(new) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A cell of a row.
fn cell(row: &str, column: usize) -> &str {
    row.trim_start_matches('|').split('|').nth(column).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| figure | x |\n| --- | --- |\n";

    fn about(command: &str) -> About {
        About { machine: "here".into(), command: command.into() }
    }

    #[test]
    fn a_section_is_found_between_its_marks() -> Result<()> {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        assert_eq!(split(text, "x")?, ("a\n<!-- begin x -->\n", "old\n", "<!-- end x -->\nb\n"));
        assert!(split(text, "y").is_err());
        assert!(split("<!-- end x -->\n<!-- begin x -->\n", "x").is_err());
        Ok(())
    }

    #[test]
    fn a_part_that_failed_may_succeed() {
        let section =
            format!("{HEAD}| fan-out | failed: why |\n| watchman | skipped: why |\n| fan-out to 1 | 2 |\n");
        let without = without_notes(&section, "fan-out");
        assert_eq!(without, format!("{HEAD}| watchman | skipped: why |\n| fan-out to 1 | 2 |\n"));
    }

    #[test]
    fn rows_of_two_peers_are_two() {
        let rows = format!("{HEAD}| a | 1 | 1 | x |\n| a | 1 | 1 | y |\n");
        let both = merged(&rows, &about("bench"), &format!("{HEAD}| a | 2 | 1 | y |\n"));
        assert_eq!(both, format!("here, by `bench`:\n\n{HEAD}| a | 1 | 1 | x |\n| a | 2 | 1 | y |\n"));
    }

    #[test]
    fn a_part_replaces_its_own_rows_alone() {
        let whole = merged("", &about("bench"), &format!("{HEAD}| a | 1 |\n| b | 1 |\n"));
        assert_eq!(whole, format!("here, by `bench`:\n\n{HEAD}| a | 1 |\n| b | 1 |\n"));
        let part = format!("{HEAD}| b | 2 |\n| c | 2 |\n");
        let both = merged(&whole, &about("bench --only b"), &part);
        let expected = format!(
            "here, by `bench`:\n\nhere, by `bench --only b`:\n\n{HEAD}| a | 1 |\n| b | 2 |\n| c | 2 |\n"
        );
        assert_eq!(both, expected);
        assert_eq!(merged(&both, &about("bench --only b"), &part), expected, "the same part again");
    }
}
