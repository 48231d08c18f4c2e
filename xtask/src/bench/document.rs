//! BENCHMARKS.md: one section for each kernel, rewritten by a run there.

use std::fs;

use anyhow::{Context, Result, bail};

use super::{line::Figure, table};
use crate::{paths, vm::Kernel};

/// Replaces the section of this kernel.
pub(super) fn keep(kernel: Option<Kernel>, about: &str, figures: &[Figure]) -> Result<()> {
    let path = paths::root().join("BENCHMARKS.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let section = kernel.map_or_else(|| "native".to_owned(), |kernel| format!("vm {kernel}"));
    let body = format!("{about}\n\n{}", table::markdown(figures));
    fs::write(&path, replaced(&text, &section, &body)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(text: &str, section: &str, body: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {section} -->\n"), format!("<!-- end {section} -->\n"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        bail!("BENCHMARKS.md has no lines {begin:?} and {end:?}");
    };
    Ok(format!("{before}{begin}{body}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() -> Result<()> {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let new = replaced(text, "x", "new\n")?;
        assert_eq!(new, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(replaced(&new, "x", "new\n")?, new);
        assert!(replaced(text, "y", "").is_err());
        Ok(())
    }
}
