//! What a reader sees of a file or directory.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use anyhow::Result;
use xattr::FileExt as _;

/// The extended attribute that the tests set.
pub(crate) const ATTRIBUTE: &str = "user.upcall";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    size: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    attribute: Option<Vec<u8>>,
    contents: Vec<u8>,
    entries: Vec<String>,
    /// The inode that the path leads to.
    named: Option<u64>,
}

/// Somebody who looks at something again and again.
#[derive(Debug)]
pub struct Reader {
    /// Kept open, so that it can be read under any name and under none.
    file: Option<File>,
    path: PathBuf,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: Some(File::open(path)?), path: path.to_owned() })
    }

    /// One that looks at whatever has the name.
    pub fn by_name(path: &Path) -> Self {
        Self { file: None, path: path.to_owned() }
    }

    pub fn look(&self) -> Result<State> {
        match &self.file {
            Some(file) => look(file, &self.path),
            None => look(&File::open(&self.path)?, &self.path),
        }
    }
}

fn look(file: &File, path: &Path) -> Result<State> {
    // The contents first: what is changed in between shows in the times.
    let metadata = file.metadata()?;
    let (mut contents, mut entries) = (Vec::new(), Vec::new());
    if metadata.is_dir() {
        entries = list(file)?;
    } else {
        contents = vec![0; usize::try_from(metadata.len())?];
        let length = file.read_at(&mut contents, 0)?;
        contents.truncate(length);
    }
    let attribute = attribute(file)?;
    let metadata = file.metadata()?;
    Ok(State {
        size: metadata.len(),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        links: metadata.nlink(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        attribute,
        contents,
        entries,
        named: fs::symlink_metadata(path).map(|there| there.ino()).ok(),
    })
}

/// The names in a directory, whatever its own is. One that is removed has none.
fn list(directory: &File) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        match entry {
            Ok(entry) => names.push(entry.file_name().to_string_lossy().into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error.into()),
        }
    }
    names.sort();
    Ok(names)
}

/// `None`: it has none, or the filesystem has no attributes.
fn attribute(file: &File) -> Result<Option<Vec<u8>>> {
    match file.get_xattr(ATTRIBUTE) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        value => Ok(value?),
    }
}
