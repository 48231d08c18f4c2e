//! What a reader sees of a file or directory.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use anyhow::Result;

use crate::sys;

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

/// Something that stays open, so that it can be read under any name and under none.
#[derive(Debug)]
pub struct Reader<'a> {
    file: File,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        Ok(Self { file: File::open(path)?, path })
    }

    pub fn look(&self) -> Result<State> {
        // The contents first: what is changed in between shows in the times.
        let metadata = self.file.metadata()?;
        let (mut contents, mut entries) = (Vec::new(), Vec::new());
        if metadata.is_dir() {
            for entry in fs::read_dir(self.path)? {
                entries.push(entry?.file_name().to_string_lossy().into_owned());
            }
            entries.sort();
        } else {
            contents = vec![0; usize::try_from(metadata.len())?];
            let length = self.file.read_at(&mut contents, 0)?;
            contents.truncate(length);
        }
        let attribute = sys::attribute(&self.file)?;
        let metadata = self.file.metadata()?;
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
            named: fs::symlink_metadata(self.path).map(|there| there.ino()).ok(),
        })
    }
}
