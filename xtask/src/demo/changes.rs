//! The changes that the demo makes, and what clients must hear of each.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use anyhow::{Context, Result};

pub(super) const FILE: &str = "file";
pub(super) const DIRECTORY: &str = "directory";
const ELSEWHERE: &str = "elsewhere";

/// One change.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) make: fn(&Path) -> Result<()>,
    /// The watched path that must be told, and the least that must be said.
    pub(super) heard_at: &'static str,
    pub(super) changes: &'static [&'static str],
}

const fn step(
    name: &'static str,
    heard_at: &'static str,
    changes: &'static [&'static str],
    make: fn(&Path) -> Result<()>,
) -> Step {
    Step { name, make, heard_at, changes }
}

pub(super) const STEPS: &[Step] = &[
    step("write", FILE, &["DATA"], |tree| {
        let mut file = OpenOptions::new().append(true).open(tree.join(FILE))?;
        Ok(file.write_all(b"some more text\n")?)
    }),
    step("truncate", FILE, &["DATA", "SIZE"], |tree| {
        Ok(OpenOptions::new().write(true).open(tree.join(FILE))?.set_len(3)?)
    }),
    step("chmod", FILE, &["MODE"], |tree| {
        Ok(fs::set_permissions(tree.join(FILE), Permissions::from_mode(0o664))?)
    }),
    step("chown", FILE, &["OWNER"], |tree| Ok(chown(tree.join(FILE), Some(65534), Some(65534))?)),
    step("setxattr", FILE, &["XATTR"], |tree| {
        xattr::set(tree.join(FILE), "user.upcall", b"demo").context("cannot set an extended attribute")
    }),
    step("link", FILE, &["NLINK"], |tree| Ok(fs::hard_link(tree.join(FILE), tree.join("second name"))?)),
    step("unlink", FILE, &["NLINK"], |tree| Ok(fs::remove_file(tree.join("second name"))?)),
    step("create in a directory", DIRECTORY, &["ENTRIES"], |tree| {
        File::create(tree.join(DIRECTORY).join("new")).map(drop).context("cannot create a file")
    }),
    step("unlink in a directory", DIRECTORY, &["ENTRIES"], |tree| {
        Ok(fs::remove_file(tree.join(DIRECTORY).join("new"))?)
    }),
    step("rename", FILE, &["RENAME"], |tree| Ok(fs::rename(tree.join(FILE), tree.join(ELSEWHERE))?)),
];

/// The tree before the first change. Readable by everybody: the TCP client counts as `nobody`.
pub(super) fn plant(tree: &Path) -> Result<()> {
    fs::set_permissions(tree, Permissions::from_mode(0o755))?;
    fs::write(tree.join(FILE), "text\n")?;
    fs::create_dir(tree.join(DIRECTORY))?;
    Ok(())
}
