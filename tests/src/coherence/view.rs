//! All that a client keeps of a file or directory, and all that a reader can see of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{DirEntryExt, FileExt, MetadataExt},
    },
};

use rustix::fs::{IFlags, ioctl_getflags};
use upcall_client::Attrs;
use xattr::FileExt as _;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) attrs: Attrs,
    /// A hash of them.
    contents: u64,
    xattrs: BTreeMap<String, Vec<u8>>,
    flags: u32,
    /// Names with inode numbers.
    entries: BTreeMap<String, u64>,
}

/// Flags that only a request of somebody's changes.
const FLAGS: IFlags =
    IFlags::NODUMP.union(IFlags::NOATIME).union(IFlags::IMMUTABLE).union(IFlags::APPEND).union(IFlags::SYNC);

impl View {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let contents = Self::contents_of(file, file.metadata()?.is_dir())?;
        let (xattrs, flags) = (xattrs(file)?, flags(file));
        Ok(Self { attrs: attrs(file)?, xattrs, flags, ..contents })
    }

    /// Contents or entries alone. Whoever asks for a file's times makes the kernel stamp its next change apart from the
    /// last one; this does not.
    pub(crate) fn contents_of(file: &File, directory: bool) -> io::Result<Self> {
        let (mut contents, mut entries) = (0, BTreeMap::new());
        match directory {
            true => entries = list(file)?,
            false => contents = hash(file)?,
        }
        Ok(Self { attrs: Attrs::default(), contents, xattrs: BTreeMap::new(), flags: 0, entries })
    }

    /// With all but contents and entries from another look.
    pub(crate) fn completed(self, other: Self) -> Self {
        let Self { contents, entries, .. } = self;
        Self { contents, entries, ..other }
    }

    /// What differs, in words.
    pub(crate) fn differs(&self, other: &Self) -> String {
        let (was, is) = (&self.attrs, &other.attrs);
        let mut words = Vec::new();
        let mut say = |what: &str, was: &dyn ToString, is: &dyn ToString| {
            let (was, is) = (was.to_string(), is.to_string());
            if was != is {
                words.push(format!("{what} {was}, on disk {is}"));
            }
        };
        say("contents", &self.contents, &other.contents);
        say("size", &was.size, &is.size);
        say("mtime", &time(was.mtime_sec, was.mtime_nsec), &time(is.mtime_sec, is.mtime_nsec));
        say("ctime", &time(was.ctime_sec, was.ctime_nsec), &time(is.ctime_sec, is.ctime_nsec));
        say("mode", &format!("{:o}", was.mode), &format!("{:o}", is.mode));
        say("uid", &was.uid, &is.uid);
        say("gid", &was.gid, &is.gid);
        say("nlink", &was.nlink, &is.nlink);
        say("xattrs", &format!("{:?}", self.xattrs), &format!("{:?}", other.xattrs));
        say("flags", &format!("{:#x}", self.flags), &format!("{:#x}", other.flags));
        say("entries", &format!("{:?}", self.entries), &format!("{:?}", other.entries));
        words.join("; ")
    }
}

fn time(seconds: i64, nanoseconds: u32) -> String {
    format!("{seconds}.{nanoseconds:09}")
}

fn attrs(file: &File) -> io::Result<Attrs> {
    let metadata = file.metadata()?;
    let nanoseconds = |of: i64| u32::try_from(of).map_err(io::Error::other);
    Ok(Attrs {
        size: metadata.len(),
        mtime_sec: metadata.mtime(),
        ctime_sec: metadata.ctime(),
        mtime_nsec: nanoseconds(metadata.mtime_nsec())?,
        ctime_nsec: nanoseconds(metadata.ctime_nsec())?,
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        nlink: u32::try_from(metadata.nlink()).map_err(io::Error::other)?,
    })
}

fn hash(file: &File) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let (mut bytes, mut at) = (vec![0; 65536], 0);
    loop {
        let length = file.read_at(&mut bytes, at)?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(bytes.get(..length).unwrap_or_default());
        at += length as u64;
    }
}

/// Whatever the directory's own name is. One that is removed has none.
fn list(directory: &File) -> io::Result<BTreeMap<String, u64>> {
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        match entry {
            Ok(entry) => drop(entries.insert(entry.file_name().to_string_lossy().into_owned(), entry.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

fn xattrs(file: &File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let names = match file.list_xattr() {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(BTreeMap::new()),
        names => names?,
    };
    let mut all = BTreeMap::new();
    for name in names {
        // One that is gone by now is none.
        if let Some(value) = file.get_xattr(&name)? {
            all.insert(name.to_string_lossy().into_owned(), value);
        }
    }
    Ok(all)
}

/// A filesystem without flags has none set.
fn flags(file: &File) -> u32 {
    ioctl_getflags(file).map_or(0, |flags| (flags & FLAGS).bits())
}
