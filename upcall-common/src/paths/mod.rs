//! The ways an inode changes, and what of each source sees each: the one table behind `upcall doctor`, README and
//! the kernel tests.

mod attributes;
mod data;
mod entries;
mod layers;
mod lifetime;
mod table;

use crate::abi::Hook;

pub use table::Table;

/// One way to change an inode.
#[derive(Clone, Copy, Debug)]
pub struct MutationPath {
    pub name: &'static str,
    /// What the kernel tests call it.
    pub test: &'static str,
    /// Any of these sees it. Empty: nothing in source `fexit` does, and `gaps` says why.
    pub fexit: &'static [Hook],
    pub gaps: &'static [Gap],
}

/// Where a source does not see a change.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub source: Source,
    /// Filesystems; empty: on all.
    pub on: &'static [&'static str],
    pub why: &'static str,
    /// Whether it is never seen there; otherwise it is at times, and `why` says when.
    pub always: bool,
}

/// How changes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Fexit,
    Timestamp,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Fexit, Self::Timestamp];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Timestamp => "timestamp",
        }
    }
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Data,
    Attributes,
    Entries,
    Layers,
    Lifetime,
}

impl Group {
    pub const ALL: [Self; 5] = [Self::Data, Self::Attributes, Self::Entries, Self::Layers, Self::Lifetime];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Attributes => "attributes",
            Self::Entries => "links and entries",
            Self::Layers => "layers",
            Self::Lifetime => "lifetime",
        }
    }

    pub const fn paths(self) -> &'static [MutationPath] {
        match self {
            Self::Data => data::PATHS,
            Self::Attributes => attributes::PATHS,
            Self::Entries => entries::PATHS,
            Self::Layers => layers::PATHS,
            Self::Lifetime => lifetime::PATHS,
        }
    }
}

/// Every path with its group.
pub fn all() -> impl Iterator<Item = (Group, &'static MutationPath)> {
    Group::ALL.into_iter().flat_map(|group| group.paths().iter().map(move |path| (group, path)))
}

const fn path(name: &'static str, test: &'static str, fexit: &'static [Hook]) -> MutationPath {
    MutationPath { name, test, fexit, gaps: &[] }
}

impl MutationPath {
    const fn but(self, gaps: &'static [Gap]) -> Self {
        Self { gaps, ..self }
    }

    /// Where a source misses it.
    pub fn gaps(&self, source: Source) -> impl Iterator<Item = &'static Gap> {
        self.gaps.iter().filter(move |gap| gap.source == source)
    }

    /// Why a source misses it everywhere.
    pub fn missed_by(&self, source: Source) -> Option<&'static Gap> {
        self.gaps(source).find(|gap| gap.on.is_empty())
    }

    /// Why a source misses it on a filesystem.
    pub fn missed_on(&self, source: Source, filesystem: &str) -> Option<&'static Gap> {
        self.gaps(source).find(|gap| gap.on.is_empty() || gap.on.contains(&filesystem))
    }
}

impl Gap {
    const fn new(source: Source, on: &'static [&'static str], why: &'static str) -> Self {
        Self { source, on, why, always: true }
    }

    const fn fexit(on: &'static [&'static str], why: &'static str) -> Self {
        Self::new(Source::Fexit, on, why)
    }

    const fn timestamp(on: &'static [&'static str], why: &'static str) -> Self {
        Self::new(Source::Timestamp, on, why)
    }

    const fn at_times(self) -> Self {
        Self { always: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tests_are_those_of_one_path() {
        for (_, path) in all() {
            assert_eq!(all().filter(|(_, other)| other.name == path.name).count(), 1, "{}", path.name);
            assert_eq!(all().filter(|(_, other)| other.test == path.test).count(), 1, "{}", path.test);
        }
    }

    #[test]
    fn a_path_without_a_hook_says_why() {
        for (_, path) in all() {
            assert_eq!(path.fexit.is_empty(), path.missed_by(Source::Fexit).is_some(), "{}", path.name);
        }
    }
}
