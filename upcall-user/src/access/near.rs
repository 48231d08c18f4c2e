//! Where the paths of one directory continue below an export. Those of a batch are mostly neighbours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::exports::{Beneath, Exports};

/// Known of one directory's paths by their text alone.
#[derive(Debug)]
pub(super) struct Near {
    /// With its last slash.
    directory: Vec<u8>,
    /// The one export that they lie beneath.
    pub(super) index: usize,
    /// Bytes of a path that lead to the export.
    skip: usize,
}

impl Near {
    /// Of the directory of a path that lies beneath no other export. `None` where its neighbours may differ from it.
    pub(super) fn of(exports: &Exports, path: &Path, beneath: Beneath<'_>) -> Option<Self> {
        let (directory, _) = split(path)?;
        let within = |export: &Path| export != shown(directory) && export.starts_with(shown(directory));
        if exports.roots().iter().any(|export| within(export.path()) || within(export.given())) {
            return None;
        }
        let skip = path.as_os_str().len().checked_sub(beneath.rest.as_os_str().len())?;
        (skip <= directory.len()).then(|| Self {
            directory: directory.to_owned(),
            index: beneath.index,
            skip,
        })
    }

    /// What follows the export in a path of the directory.
    pub(super) fn rest<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        split(path).filter(|(directory, _)| *directory == self.directory)?;
        path.as_os_str().as_bytes().get(self.skip..).map(shown)
    }
}

/// A path as directory and name, if it ends with a name.
fn split(path: &Path) -> Option<(&[u8], &[u8])> {
    let bytes = path.as_os_str().as_bytes();
    let slash = bytes.iter().rposition(|byte| *byte == b'/')?;
    let (directory, name) = bytes.split_at_checked(slash + 1)?;
    (!matches!(name, b"" | b"." | b"..")).then_some((directory, name))
}

fn shown(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::tree::*;

    /// What is known of the directory of `one` says of `other`: the export, and the rest of the path.
    fn said(exports: &Exports, one: &Path, other: &Path) -> Option<(usize, String)> {
        let [beneath] = exports.above(one)[..] else { panic!("beneath one export") };
        let near = Near::of(exports, one, beneath)?;
        near.rest(other).map(|rest| (near.index, rest.display().to_string()))
    }

    #[test]
    fn neighbours_continue_alike_unless_one_may_be_an_export() {
        let tree = Tree::new();
        let (plain, nested) = (tree.dir("plain", 0o755), tree.dir("nested", 0o755));
        let inner = tree.dir("nested/inner", 0o755);
        let exports = export(&[&plain, &nested, &inner]);
        let neighbours = |one: &str, other: &str| said(&exports, &tree.path(one), &tree.path(other));
        for (one, other) in [
            ("plain/a", "plain/b"),
            ("plain/a/b", "plain/a/c"),
            ("plain//./a/b", "plain//./a/c"),
            ("plain/../plain/a", "plain/../plain/b"),
            ("nested/x/a", "nested/x/b"),
        ] {
            let path = tree.path(other);
            let [beneath] = exports.above(&path)[..] else { panic!("beneath one export") };
            let rest = beneath.rest.display().to_string();
            assert_eq!(neighbours(one, other), Some((beneath.index, rest)), "{one} {other}");
        }
        for (one, other) in [
            ("plain/a", "plain/a/b"),
            ("plain/a", "plain/.."),
            ("plain/a", "plain/"),
            ("plain", "nested"),
            ("nested/a", "nested/inner"),
            ("nested//a", "nested//inner"),
        ] {
            assert_eq!(neighbours(one, other), None, "{one} {other}");
        }
    }
}
