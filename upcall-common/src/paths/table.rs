//! The table as README shows it.

use core::fmt::{self, Display, Formatter};

use super::{Group, MutationPath, Source};

/// All paths in Markdown: what each source sees each with.
#[derive(Clone, Copy, Debug)]
pub struct Table;

impl Table {
    /// README has the table between these two lines.
    pub const BEGIN: &str = "<!-- paths: written by `cargo xtask table` -->";
    pub const END: &str = "<!-- end of paths -->";
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| change | `fexit` | `timestamp` |")?;
        writeln!(f, "| --- | --- | --- |")?;
        for group in Group::ALL {
            writeln!(f, "| **{}** | | |", group.name())?;
            for path in group.paths() {
                writeln!(
                    f,
                    "| {} | {} | {} |",
                    path.name,
                    Seen(path, Source::Fexit),
                    Seen(path, Source::Timestamp)
                )?;
            }
        }
        Ok(())
    }
}

/// A cell: how one source sees one path.
struct Seen<'a>(&'a MutationPath, Source);

impl Display for Seen<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(path, source) = *self;
        if let Some(gap) = path.missed_by(source) {
            return write!(f, "no: {}", gap.why);
        }
        match source {
            Source::Timestamp => write!(f, "yes")?,
            Source::Fexit => {
                for (place, hook) in path.fexit.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}`{}`", hook.name())?;
                }
            }
        }
        for gap in path.gaps(source) {
            write!(f, "; not on ")?;
            for (place, filesystem) in gap.on.iter().enumerate() {
                let comma = if place > 0 { ", " } else { "" };
                write!(f, "{comma}{filesystem}")?;
            }
            write!(f, ": {}", gap.why)?;
        }
        Ok(())
    }
}
