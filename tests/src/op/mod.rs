//! The ways to change files and directories, each with the change bits that it must be told with: one for each row
//! of `upcall_common::paths`.

mod attributes;
mod entries;
mod extents;
mod fuse;
mod layers;
mod mapping;
mod nfsd;
mod queued;
mod shown;
mod special;
mod stage;
mod writes;

use std::{io, path::Path};

use upcall_common::paths::Source;

pub use shown::Shown;
pub use stage::set;

/// One way to change something. Each acts on a stage that [`set`] has made.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub name: &'static str,
    /// What is watched.
    pub subjects: &'static [Subject],
    /// Whether a reader can see what it changes.
    pub visible: bool,
    /// What the filesystem refuses it with, beside what always says so: see [`Op::is_unsupported`].
    refusals: &'static [i32],
    how: How,
}

/// An inode of the stage that an operation changes.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Within the stage.
    pub path: &'static str,
    /// Change bits that must be told.
    pub expected: u32,
    /// Whether the operation removes its last link; then nobody may keep it open.
    pub ends: bool,
}

/// What makes a change, and holds what it needs.
pub type Change = Box<dyn FnMut() -> io::Result<()>>;

#[derive(Clone, Copy, Debug)]
enum How {
    AtOnce(fn(&Path) -> io::Result<()>),
    /// What comes before the change is done before anybody watches.
    Prepared(fn(&Path) -> io::Result<Change>),
}

pub fn all() -> impl Iterator<Item = &'static Op> {
    const GROUPS: [&[Op]; 10] = [
        writes::OPS,
        queued::OPS,
        extents::OPS,
        mapping::OPS,
        special::OPS,
        attributes::OPS,
        entries::OPS,
        layers::OPS,
        fuse::OPS,
        nfsd::OPS,
    ];
    GROUPS.into_iter().flatten()
}

pub fn find(name: &str) -> Option<&'static Op> {
    all().find(|op| op.name == name)
}

impl Op {
    const fn new(name: &'static str, subjects: &'static [Subject], how: How) -> Self {
        Self { name, subjects, visible: true, refusals: &[], how }
    }

    /// Does what comes before the change. What is returned makes it, and holds what it needs.
    pub fn prepare(&self, dir: &Path) -> io::Result<Change> {
        match self.how {
            How::AtOnce(run) => {
                let dir = dir.to_owned();
                Ok(Box::new(move || run(&dir)))
            }
            How::Prepared(prepare) => prepare(dir),
        }
    }

    /// What `upcall debug` shows of it; `None`: nothing.
    pub fn shown(&self, source: Source, filesystem: &str) -> Option<Shown> {
        shown::shown(self.name, source, filesystem)
    }

    /// Whether a failure says that this filesystem or kernel has no such operation.
    pub fn is_unsupported(&self, errno: i32) -> bool {
        const ALWAYS: [i32; 3] = [libc::EOPNOTSUPP, libc::ENOSYS, libc::ENOTTY];
        ALWAYS.contains(&errno) || self.refusals.contains(&errno)
    }

    /// The manual of the operation documents these errors for a filesystem that does not have it.
    const fn refused_with(self, refusals: &'static [i32]) -> Self {
        Self { refusals, ..self }
    }

    /// Nobody who reads the file sees a difference.
    const fn unseen_by_readers(self) -> Self {
        Self { visible: false, ..self }
    }
}

const fn op(name: &'static str, subjects: &'static [Subject], run: fn(&Path) -> io::Result<()>) -> Op {
    Op::new(name, subjects, How::AtOnce(run))
}

const fn prepared(
    name: &'static str,
    subjects: &'static [Subject],
    prepare: fn(&Path) -> io::Result<Change>,
) -> Op {
    Op::new(name, subjects, How::Prepared(prepare))
}

const fn at(path: &'static str, expected: u32) -> Subject {
    Subject { path, expected, ends: false }
}

/// The file of the stage.
const fn file(expected: u32) -> Subject {
    at("file", expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use upcall_common::paths::{self, Group};

    #[test]
    fn there_is_one_for_each_path_but_those_of_lifetime() {
        let named = |name| all().filter(|op| op.name == name).count();
        assert!(all().all(|op| named(op.name) == 1));
        let ops: BTreeSet<_> = all().map(|op| op.name).collect();
        let rows = paths::all().filter(|(group, _)| *group != Group::Lifetime);
        assert_eq!(ops, rows.map(|(_, path)| path.test).collect());
    }

    #[test]
    fn each_expects_something_of_every_subject() {
        let subjects = || all().flat_map(|op| op.subjects);
        assert!(all().all(|op| !op.subjects.is_empty()));
        assert!(subjects().all(|subject| subject.expected != 0));
    }
}
