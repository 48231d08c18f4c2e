//! From targets to inodes, a batch at a time.
//!
//! What a user may do is asked of the kernel as that user; what needs privilege (handles, descriptors) is done as
//! the daemon in between. So a batch changes credentials twice, however long it is:
//!
//! | as | path | handle | descriptor |
//! | --- | --- | --- | --- |
//! | principal | walk, check | walk to the anchor | |
//! | daemon | | decode | locate |
//! | principal | | walk to the same inode, check | check, if it doesn't prove access |

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

use super::anchor::{decode, open_readable};
use super::inode::{Kind, current_path, identity, kind, magic_link};
use super::locate::{Place, by_filesystem, by_handle, by_path};
use super::root::NoRoot;
use super::walk::{Found, Walker};
use super::{AccessError, Exports, Principal};
use crate::sys::file::may_read;
use crate::sys::handle::{FileHandle, HandleBytes, handle_and_mount};

/// How a client names a file.
#[derive(Debug)]
pub enum Target {
    Path(PathBuf),
    /// `anchor` is a path beneath an export, on the filesystem that the handle is of.
    Handle {
        anchor: PathBuf,
        handle_type: i32,
        bytes: Vec<u8>,
    },
    Descriptor(OwnedFd),
}

/// An inode that the principal may watch, if it is of a kind that can be watched.
#[derive(Debug)]
pub struct Resolved {
    /// Of the inode itself: `O_PATH`, so that holding it has no side effects.
    pub fd: OwnedFd,
    /// For [`verify_handle`]. `None` where the filesystem has no handles, or isn't the one of the export's root.
    pub handle: Option<FileHandle>,
    /// Index into [`Exports::roots`].
    pub export: usize,
}

impl Resolved {
    /// The real path now, where the kernel knows it.
    pub fn path(&self) -> Option<PathBuf> {
        current_path(self.fd.as_fd())
    }
}

/// A target on its way. Each step takes those in its state and leaves the others alone.
enum State<'t> {
    New(&'t Target),
    Anchored {
        anchor: Rc<OwnedFd>,
        handle: FileHandle,
    },
    Decoded(OwnedFd),
    /// In an export, but perhaps not readable by the principal.
    Unproven(Found),
    Proven(Found),
}

type Step<'t> = Result<State<'t>, AccessError>;

/// One target; see [`resolve_batch`].
pub fn resolve(exports: &Exports, principal: &Principal, target: &Target) -> Result<Resolved, AccessError> {
    resolve_batch(exports, principal, std::slice::from_ref(target))
        .pop()
        .unwrap_or_else(|| Err(AccessError::BadTarget("no target was given".to_owned())))
}

/// One result per target, in their order. Leaves the thread's credentials as they were.
pub fn resolve_batch(
    exports: &Exports,
    principal: &Principal,
    targets: &[Target],
) -> Vec<Result<Resolved, AccessError>> {
    let mut steps: Vec<Step<'_>> = targets.iter().map(|target| Ok(State::New(target))).collect();
    let mut as_principal = Walker::new(exports);
    let mut as_daemon = Walker::new(exports);

    let mut anchors = Anchors::default();
    let by_name = |state: &State<'_>| matches!(state, State::New(Target::Path(_) | Target::Handle { .. }));
    impersonated(principal, &mut steps, by_name, |state| approach(&mut as_principal, &mut anchors, state));

    let mut mounts = Mounts::default();
    advance(&mut steps, |state| match state {
        State::Anchored { anchor, handle } => Ok(State::Decoded(decode(mounts.of(&anchor)?, &handle)?)),
        State::New(Target::Descriptor(passed)) => inspect(&mut as_daemon, passed.as_fd()),
        other => Ok(other),
    });

    let unproven = |state: &State<'_>| matches!(state, State::Decoded(_) | State::Unproven(_));
    impersonated(principal, &mut steps, unproven, |state| match state {
        State::Decoded(inode) => prove(&mut as_principal, principal, inode),
        State::Unproven(found) => readable(found, "the file of the descriptor"),
        other => Ok(other),
    });

    steps.into_iter().map(|step| finish(&mut as_daemon, step?)).collect()
}

/// Replaces each target's state by the next one.
fn advance<'t>(steps: &mut [Step<'t>], mut next: impl FnMut(State<'t>) -> Step<'t>) {
    for step in steps {
        // The placeholder is gone before anybody sees it.
        let current = std::mem::replace(step, Err(AccessError::BadTarget(String::new())));
        *step = current.and_then(&mut next);
    }
}

/// [`advance`] as the principal, if any target `wants` it. Fails those alone when the daemon cannot.
fn impersonated<'t>(
    principal: &Principal,
    steps: &mut [Step<'t>],
    wants: impl Fn(&State<'t>) -> bool,
    next: impl FnMut(State<'t>) -> Step<'t>,
) {
    if !steps.iter().flatten().any(&wants) {
        return;
    }
    match principal.assume() {
        Ok(_guard) => advance(steps, next),
        Err(errno) => {
            advance(steps, |state| if wants(&state) { Err(principal.not_assumed(errno)) } else { Ok(state) });
        }
    }
}

/// As the principal: all that a path needs, and the way to a handle's anchor.
fn approach<'t>(walker: &mut Walker<'_>, anchors: &mut Anchors<'t>, state: State<'t>) -> Step<'t> {
    match state {
        State::New(Target::Path(path)) => readable(walker.open(path)?, path.display()),
        State::New(Target::Handle { anchor, handle_type, bytes }) => Ok(State::Anchored {
            anchor: anchors.of(walker, anchor)?,
            handle: FileHandle { handle_type: *handle_type, bytes: HandleBytes::from_slice(bytes) },
        }),
        other => Ok(other),
    }
}

fn readable<'t>(found: Found, what: impl Display) -> Step<'t> {
    match may_read(found.fd.as_fd()) {
        Ok(()) => Ok(State::Proven(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
            Err(AccessError::not_readable(what))
        }
        Err(error) => Err(AccessError::internal("check read permission")(error)),
    }
}

/// As the daemon: where the file of a descriptor lies. Whoever holds one that is open for reading could read the
/// file, wherever it lies; nothing remains to be asked of the user then.
fn inspect<'t>(walker: &mut Walker<'_>, passed: BorrowedFd<'_>) -> Step<'t> {
    let looking = "look at the descriptor";
    // Sockets and pipes go before anything opens them.
    if kind(passed).map_err(AccessError::internal(looking))? == Kind::Other {
        return Err(AccessError::Unsupported("only regular files and directories can be watched".to_owned()));
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let fd = open(&magic_link(passed), flags, Mode::empty())
        .map_err(|errno| AccessError::internal(looking)(errno.into()))?;
    let found = match by_path(walker, fd.as_fd())? {
        Place::Export(export) => Some(Found { fd, export }),
        Place::Nowhere => match by_handle(walker, fd.as_fd())? {
            Some(found) => Some(found),
            None => by_filesystem(walker, fd.as_fd())?.map(|export| Found { fd, export }),
        },
    };
    let found = found.ok_or_else(|| {
        AccessError::NotExported("the file of the descriptor is not beneath an export".to_owned())
    })?;
    let flags =
        fcntl(passed, FcntlArg::F_GETFL).map_err(|errno| AccessError::internal(looking)(errno.into()))?;
    let flags = OFlag::from_bits_retain(flags);
    let reads = matches!(flags & OFlag::O_ACCMODE, OFlag::O_RDONLY | OFlag::O_RDWR);
    let proven = reads && !flags.contains(OFlag::O_PATH);
    Ok(if proven { State::Proven(found) } else { State::Unproven(found) })
}

/// As the principal: whether it could reach and read what a handle names. Says nothing about paths, which the
/// holder of a handle need not know.
fn prove<'t>(walker: &mut Walker<'_>, principal: &Principal, inode: OwnedFd) -> Step<'t> {
    let what = "the file of the handle";
    // Without a path nobody can tell whether the directories above let the user through; an operator needs none.
    let whole = if principal.is_operator() { by_filesystem(walker, inode.as_fd())? } else { None };
    let export = match whole {
        Some(export) => Some(export),
        None => match by_path(walker, inode.as_fd()) {
            Ok(Place::Export(export)) => Some(export),
            Ok(Place::Nowhere) => None,
            Err(AccessError::NotPermitted(_)) => {
                return Err(AccessError::NotPermitted(format!("{what} may not be reached by this user")));
            }
            Err(other) => return Err(other),
        },
    };
    let export = export.ok_or_else(|| {
        AccessError::NotExported(format!(
            "{what} is not beneath an export, or has no known path; use its path or a descriptor"
        ))
    })?;
    readable(Found { fd: inode, export }, what)
}

/// As the daemon: what else is known of an inode that the principal may watch.
fn finish(walker: &mut Walker<'_>, state: State<'_>) -> Result<Resolved, AccessError> {
    let State::Proven(Found { fd, export }) = state else {
        return Err(AccessError::BadTarget("the target could not be resolved".to_owned()));
    };
    let handle = own_handle(walker, export, fd.as_fd()).map_err(AccessError::internal("look at the file"))?;
    Ok(Resolved { fd, handle, export })
}

/// The handle, if the root of the export can serve as its anchor.
fn own_handle(
    walker: &mut Walker<'_>,
    export: usize,
    fd: BorrowedFd<'_>,
) -> std::io::Result<Option<FileHandle>> {
    let Ok(root) = walker.root(export) else { return Ok(None) };
    let Some((handle, mount)) = handle_and_mount(fd)? else { return Ok(None) };
    // A btrfs subvolume has a device number of its own, yet shares the mount, and its handles.
    let near = mount == root.mount.id || identity(fd)?.dev == root.identity.dev;
    Ok(near.then_some(handle))
}

/// Opens an inode anew, as the daemon, by the handle that [`resolve`] gave. Asks nobody for permission.
pub fn verify_handle(exports: &Exports, export: usize, handle: &FileHandle) -> Result<OwnedFd, AccessError> {
    let not_there = |why: &str| AccessError::NotExported(format!("the export of the handle {why}"));
    let export = exports.roots().get(export).ok_or_else(|| not_there("is gone"))?;
    let root = export.open().map_err(|error| match error {
        NoRoot::Unavailable(_) => not_there("is not available"),
        NoRoot::Errno(errno) => AccessError::internal("open the export of a handle")(errno.into()),
    })?;
    decode(open_readable(root.as_fd())?, handle)
}

/// The anchor of the handle before: those of one batch mostly share theirs.
#[derive(Default)]
struct Anchors<'t>(Option<(&'t Path, Rc<OwnedFd>)>);

impl<'t> Anchors<'t> {
    fn of(&mut self, walker: &mut Walker<'_>, path: &'t Path) -> Result<Rc<OwnedFd>, AccessError> {
        if let Some((known, anchor)) = &self.0
            && *known == path
        {
            return Ok(Rc::clone(anchor));
        }
        let anchor = Rc::new(walker.open(path)?.fd);
        self.0 = Some((path, Rc::clone(&anchor)));
        Ok(anchor)
    }
}

/// The same for the descriptors that anchors are opened as.
#[derive(Default)]
struct Mounts(Option<(Rc<OwnedFd>, OwnedFd)>);

impl Mounts {
    fn of(&mut self, anchor: &Rc<OwnedFd>) -> Result<BorrowedFd<'_>, AccessError> {
        let known = self.0.take().filter(|(known, _)| Rc::ptr_eq(known, anchor));
        let mount = match known {
            Some((_, mount)) => mount,
            None => open_readable(anchor.as_fd())?,
        };
        Ok(self.0.insert((Rc::clone(anchor), mount)).1.as_fd())
    }
}
