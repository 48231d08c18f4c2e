//! What an object offers to the loader: its programs and maps. Equal for equal sources, whichever
//! compiler made it.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// The names of programs, as `section/function`, and of maps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    programs: BTreeSet<String>,
    maps: BTreeSet<String>,
}

impl Inventory {
    pub(super) fn read(object: &[u8]) -> Result<Self> {
        let file = object::File::parse(object).context("not an ELF object")?;
        let mut found = Self::default();
        for symbol in file.symbols() {
            let Some(index) = symbol.section_index() else { continue };
            let section = file.section_by_index(index).context("a symbol names no section")?;
            let (section_name, name) = (section.name()?, symbol.name()?);
            match (section.kind(), symbol.kind()) {
                // Functions in .text are subprograms; which of them remain is the compiler's choice.
                (SectionKind::Text, SymbolKind::Text) if section_name != ".text" => {
                    found.programs.insert(format!("{section_name}:{name}"));
                }
                (_, SymbolKind::Data) if matches!(section_name, "maps" | ".maps") => {
                    found.maps.insert(name.to_owned());
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// What is in one of the two only, a line each.
    pub(super) fn difference(&self, other: &Self) -> String {
        let mut lines = Vec::new();
        for (mine, others) in [(&self.programs, &other.programs), (&self.maps, &other.maps)] {
            lines.extend(mine.difference(others).map(|name| format!("- {name}")));
            lines.extend(others.difference(mine).map(|name| format!("+ {name}")));
        }
        lines.join("\n")
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} programs, {} maps", self.programs.len(), self.maps.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_is_on_one_side_only() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let old = Inventory { programs: set(&["fexit/vfs_write:a", "fexit/x:b"]), maps: set(&["SLOTS"]) };
        let new = Inventory { programs: set(&["fexit/vfs_write:a"]), maps: set(&["SLOTS", "RING"]) };
        assert_eq!(old.difference(&new), "- fexit/x:b\n+ RING");
        assert_eq!(old.difference(&old), "");
    }
}
