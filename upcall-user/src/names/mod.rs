//! Names of changed directory entries: the kernel reports them by fanotify, for those directories alone of which
//! somebody asks for them.

mod record;

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags},
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    access::{Exports, Resolved, magic_link, verify_handle},
    hub::{Directory, Hub, Mark, STEP, Waiting},
    sys::readiness,
};

/// Bytes read at a time: about [`STEP`] events at most.
const BUFFER: usize = 64 << 10;

/// `FAN_REPORT_DFID_NAME_TARGET`, which nix does not name: directory, name, and the child itself.
const REPORT: InitFlags = InitFlags::from_bits_retain(libc::FAN_REPORT_DFID_NAME_TARGET);

const EVENTS: MaskFlags = MaskFlags::FAN_CREATE
    .union(MaskFlags::FAN_DELETE)
    .union(MaskFlags::FAN_RENAME)
    .union(MaskFlags::FAN_ONDIR);

/// The kernel's reports of names, and for which directories it makes them.
pub struct Namer {
    /// Ready when any group has something to read.
    any: Epoll,
    /// By filesystem.
    groups: Mutex<HashMap<u64, Group>>,
    exports: Arc<Exports>,
    /// Held while marks are changed, which may wait for a filesystem: never by an asynchronous task.
    marks: Mutex<HashMap<Directory, Marked>>,
    released: UnboundedSender<Directory>,
    /// Held from reading to handing on, so that whoever finds nothing to read knows that all has been handed on.
    buffer: Mutex<Vec<u8>>,
}

/// A fanotify group for each filesystem: where one filesystem's numbers are unlike the others' (a btrfs
/// subvolume's), the kernel lets no other one into the group.
struct Group {
    fanotify: Arc<Fanotify>,
    /// Entries of [`Namer::marks`]; without any the group goes.
    marks: usize,
}

struct Marked {
    /// Dead: nobody asks any more, and the mark is about to be removed.
    mark: Weak<Mark>,
    /// Index of the export that the directory lies in.
    export: usize,
}

/// Directories of which nobody asks for names any more.
pub type Released = UnboundedReceiver<Directory>;

impl Namer {
    pub fn new(exports: Arc<Exports>) -> io::Result<(Self, Released)> {
        let (released, receiver) = unbounded_channel();
        let namer = Self {
            any: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            groups: Mutex::default(),
            exports,
            marks: Mutex::default(),
            released,
            buffer: Mutex::new(vec![0; BUFFER]),
        };
        Ok((namer, receiver))
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<Directory, Marked>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<u64, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the kernel report the names of a directory from here on. May wait for its filesystem.
    pub fn ask(&self, found: &Resolved) -> Waiting {
        let mark = self.mark(found).inspect_err(|error| {
            tracing::debug!(%error, path = ?found.path(), "names of entries cannot be reported");
        });
        Waiting::new(mark.ok())
    }

    fn mark(&self, found: &Resolved) -> io::Result<Arc<Mark>> {
        let handle = found.handle.clone().ok_or(Errno::EOPNOTSUPP)?;
        if rustix::fs::fstatvfs(&found.fd)?.f_fsid == 0 {
            // Those whose server may never answer: nobody else should have to wait for it.
            return Err(Errno::ENODEV.into());
        }
        let filesystem = nix::sys::stat::fstat(&found.fd)?.st_dev;
        let directory = Directory { filesystem, handle };
        let mut marks = self.marks();
        let group = match self.groups().get(&filesystem) {
            Some(group) => Arc::clone(&group.fanotify),
            None => Arc::new(self.open()?),
        };
        // Where the mark is still there, this changes nothing. It is gone where the filesystem was mounted anew.
        change(&group, MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_ONLYDIR, found.fd.as_fd())?;
        if let Some(mark) = marks.get(&directory).and_then(|marked| marked.mark.upgrade()) {
            return Ok(mark);
        }
        let mark = Arc::new(Mark::new(directory.clone(), self.released.clone()));
        let marked = Marked { mark: Arc::downgrade(&mark), export: found.export };
        let is_new = marks.insert(directory, marked).is_none();
        let mut groups = self.groups();
        let group = groups.entry(filesystem).or_insert(Group { fanotify: group, marks: 0 });
        group.marks += usize::from(is_new);
        Ok(mark)
    }

    fn open(&self) -> io::Result<Fanotify> {
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_MARKS
            | REPORT;
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY)?;
        self.any.add(&group, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(group)
    }

    /// Removes the mark of a directory unless somebody asks for names again. May wait for its filesystem.
    fn unmark(&self, directory: &Directory) -> io::Result<()> {
        let Some(export) = self.marks().get(directory).map(|marked| marked.export) else { return Ok(()) };
        // The directory may be gone, and its mark with it.
        let found = verify_handle(&self.exports, export, &directory.handle).ok();
        let mut marks = self.marks();
        if marks.get(directory).is_none_or(|marked| marked.mark.strong_count() > 0) {
            return Ok(());
        }
        marks.remove(directory);
        let Some(group) = self.forget(directory.filesystem) else { return Ok(()) };
        found.map_or(Ok(()), |found| change(&group, MarkFlags::FAN_MARK_REMOVE, found.as_fd()))
    }

    /// A mark of the filesystem goes, and its group with the last one.
    fn forget(&self, filesystem: u64) -> Option<Arc<Fanotify>> {
        let mut groups = self.groups();
        let group = groups.get_mut(&filesystem)?;
        group.marks -= 1;
        let fanotify = Arc::clone(&group.fanotify);
        if group.marks == 0 {
            groups.remove(&filesystem);
        }
        Some(fanotify)
    }

    /// Hands on all that the kernel has reported so far, without waiting.
    pub fn drain(&self, hub: &Hub) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let groups: Vec<(u64, Arc<Fanotify>)> =
            self.groups().iter().map(|(number, group)| (*number, Arc::clone(&group.fanotify))).collect();
        groups.iter().for_each(|(number, group)| drain(*number, group, &mut buffer, hub));
    }
}

fn drain(filesystem: u64, group: &Fanotify, buffer: &mut [u8], hub: &Hub) {
    // Some kernels count the metadata alone: so this many events at most. What comes meanwhile may stay.
    let mut events = match rustix::io::ioctl_fionread(group) {
        Ok(bytes) => bytes / record::METADATA as u64,
        Err(error) => return tracing::error!(%error, "cannot tell how many names are reported"),
    };
    while events > 0 {
        let length = match nix::unistd::read(group, buffer) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => return,
            Err(Errno::EINTR) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot read the names of entries");
                return lose_all(hub);
            }
        };
        match record::parse(buffer.get(..length).unwrap_or_default(), filesystem) {
            Ok(reports) => {
                events = events.saturating_sub(reports.events.max(1));
                hub.name(reports.named);
                if reports.overflow {
                    lose_all(hub);
                }
            }
            Err(error) => {
                tracing::error!(%error, "names of entries got lost");
                events = events.saturating_sub(1);
                lose_all(hub);
            }
        }
    }
}

fn lose_all(hub: &Hub) {
    hub.named_slots().chunks(STEP).for_each(|slots| hub.lose_names(slots));
}

/// Marks an inode, which may be open as a mere path.
fn change(group: &Fanotify, what: MarkFlags, inode: BorrowedFd<'_>) -> io::Result<()> {
    Ok(group.mark(what, EVENTS, AT_FDCWD, Some(&magic_link(inode)))?)
}

/// Runs for as long as the daemon does.
pub async fn run(namer: Arc<Namer>, released: Released, hub: Arc<Hub>) -> io::Result<()> {
    tokio::try_join!(follow(Arc::clone(&namer), hub), clear(namer, released)).map(|_| ())
}

/// Hands on what the kernel reports, when it does.
async fn follow(namer: Arc<Namer>, hub: Arc<Hub>) -> io::Result<()> {
    let reports = readiness::readable(namer.any.0.try_clone()?)?;
    loop {
        // Before reading: a report that comes meanwhile wakes this task again.
        reports.readable().await?.clear_ready();
        namer.drain(&hub);
        tokio::task::yield_now().await;
    }
}

/// Removes marks that nobody needs, where it keeps nobody waiting.
async fn clear(namer: Arc<Namer>, mut released: Released) -> io::Result<()> {
    while let Some(directory) = released.recv().await {
        let namer = Arc::clone(&namer);
        let unmarked = tokio::task::spawn_blocking(move || namer.unmark(&directory)).await;
        if let Ok(Err(error)) = unmarked {
            tracing::debug!(%error, "a directory's names are still reported, though nobody asks for them");
        }
    }
    Ok(())
}
