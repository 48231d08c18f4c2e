//! A FUSE filesystem of one file, which the kernel passes through to another (Linux 6.9 on).

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, BackingId, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, OpenFlags, ReplyAttr, ReplyEntry, ReplyOpen, Request,
    SessionACL,
};
use nix::mount::{MntFlags, umount2};
use upcall_common::change::DATA;

use super::{
    Change, Op, at, file, prepared,
    stage::{self, open},
};

pub(super) const OPS: &[Op] = &[
    // The kernel has no FUSE, or the machine no device for it.
    prepared("fuse_backing_watched", &[file(DATA)], write_through).refused_with(NO_FUSE),
    prepared("fuse_watched", &[at("dir2/passed", DATA)], write_through).refused_with(NO_FUSE),
];

const NO_FUSE: &[i32] = &[libc::ENODEV, libc::ENOENT];

fn write_through(dir: &Path) -> io::Result<Change> {
    let mounted = Mounted::over(&dir.join("dir2"), &stage::file(dir), open(dir)?)?;
    // Whoever opens it looks at its attributes, which is told as a change of them.
    let file = File::options().write(true).open(mounted.at.join(NAME))?;
    Ok(Box::new(move || {
        let _mounted = &mounted;
        file.write_all_at(b"passed through", 0)
    }))
}

/// Unmounted when dropped.
struct Mounted {
    at: PathBuf,
    /// The thread that answers the kernel; it ends when nobody uses the filesystem any more.
    _session: BackgroundSession,
}

impl Mounted {
    fn over(at: &Path, path: &Path, backing: File) -> io::Result<Self> {
        let filesystem = PassThrough { backing, path: path.to_owned(), id: Mutex::new(None) };
        let mut config = Config::default();
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(filesystem, at, &config)?;
        Ok(Self { at: at.to_owned(), _session: session })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Detached, for whoever still has files open; there is nobody to tell of a failure.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

const NAME: &str = "passed";
const ONLY: INodeNo = INodeNo(2);
/// For longer than a test. Attributes that are asked for again count as changed, for source `timestamp`.
const KEPT: Duration = Duration::from_secs(3600);

struct PassThrough {
    backing: File,
    path: PathBuf,
    /// What the kernel calls the file behind; one for all who have it open.
    id: Mutex<Option<BackingId>>,
}

impl PassThrough {
    fn attributes(&self, inode: INodeNo) -> io::Result<FileAttr> {
        match inode {
            INodeNo::ROOT => Ok(attributes(inode, FileType::Directory, 0o755, None)),
            ONLY => Ok(attributes(inode, FileType::RegularFile, 0o644, Some(&self.path.metadata()?))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn attributes(ino: INodeNo, kind: FileType, perm: u16, of: Option<&Metadata>) -> FileAttr {
    let time = of.and_then(|metadata| metadata.modified().ok()).unwrap_or(UNIX_EPOCH);
    FileAttr {
        ino,
        size: of.map_or(0, Metadata::len),
        blocks: 1,
        atime: UNIX_EPOCH,
        mtime: time,
        ctime: time,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for PassThrough {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let missing = |_| io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).map_err(missing)?;
        // The file behind may itself be of a filesystem on top of another.
        config.set_max_stack_depth(2).map(drop).map_err(|_| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(ONLY) {
            Ok(attributes) if name == NAME => reply.entry(&KEPT, &attributes, Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Ok(attributes) => reply.attr(&KEPT, &attributes),
            Err(_) => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let mut id = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match &mut *id {
            Some(id) => id,
            none => match reply.open_backing(&self.backing) {
                Ok(new) => none.insert(new),
                Err(error) => return reply.error(error.into()),
            },
        };
        reply.opened_passthrough(FileHandle(0), FopenFlags::empty(), id);
    }
}
