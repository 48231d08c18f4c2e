//! A local process: knows nothing of the daemon, and does to the files what processes do.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Result;
use fastrand::Rng;
use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::{prctl, signal::Signal},
    unistd::truncate,
};

use super::{
    board::{Board, End},
    claim::{CELLS, Claim, READ, WRITE},
    holding::inode_of,
    post::{Post, Report, path_of},
};
use crate::{coherence::now_ns, crew::say, sys::handle_of};

/// Between two deeds, and how long a file stays open.
const REST: std::ops::Range<u64> = 20..200;

struct Local {
    board: Board,
    member: usize,
    rng: Rng,
    file: usize,
}

pub(super) fn run(post: &Post) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut local =
        Local { board: post.open_board()?, member: post.first, rng: post.rng(post.first)?, file: 0 };
    let files = post.plan()?.files;
    while !local.board.is_over() {
        local.rest();
        local.file = local.rng.usize(..files);
        let path = path_of(&post.root, local.file);
        match local.one(&path) {
            Ok(()) => local.board.count(local.member),
            // Others rename and unlink, too; and a lease or lock may be in the way of who does not wait.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => say(&Report::Finding(format!("process {}: {error}", local.member)))?,
        }
    }
    Ok(())
}

impl Local {
    fn one(&mut self, path: &Path) -> io::Result<()> {
        match self.rng.u8(..12) {
            0..3 => self.open(path, READ, 0),
            3..5 => self.open(path, WRITE, 0),
            5 => self.open(path, WRITE, libc::O_NONBLOCK),
            6 => self.waiting(|| Ok(truncate(path, 7)?)),
            7 => {
                let aside = path.with_file_name(format!("aside{}", self.member));
                fs::rename(path, &aside)?;
                self.rest();
                fs::rename(&aside, path)
            }
            8 => {
                self.waiting(|| fs::remove_file(path))?;
                let mut made = File::options().write(true).create_new(true).open(path)?;
                made.set_permissions(Permissions::from_mode(0o666))?;
                made.write_all(b"new")
            }
            9 => self.waiting(|| fs::set_permissions(path, Permissions::from_mode(0o666))),
            10 => self.lock(path, false),
            _ => self.lock(path, true),
        }
    }

    /// Whoever looks sees that it may wait for a lease, and since when.
    fn waiting<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.board.set_busy(self.member, now_ns());
        let done = call();
        self.board.set_busy(self.member, 0);
        done
    }

    fn open(&mut self, path: &Path, access: u8, flags: i32) -> io::Result<()> {
        let mut options = File::options();
        options.read(access & READ != 0).write(access & WRITE != 0).custom_flags(flags);
        let mut file = self.waiting(|| options.open(path))?;
        let claim = Claim { access, local: true, ..Claim::default() };
        self.claim(&file, claim)?;
        let done = match access {
            READ => io::copy(&mut file, &mut io::sink()).map(drop),
            _ if self.rng.bool() => file.write_all(b"changed"),
            _ => file.set_modified(UNIX_EPOCH + Duration::from_nanos(self.rng.u64(..1 << 60))),
        };
        self.rest();
        self.claim(&file, Claim::default())?;
        done
    }

    /// While it waits for a lock it has none, so that nobody who waits for it waits for ever.
    fn lock(&mut self, path: &Path, wait: bool) -> io::Result<()> {
        let file = self.waiting(|| File::options().read(true).write(true).open(path))?;
        let access = READ | WRITE;
        let mut claim = Claim { access, local: true, ..Claim::default() };
        self.claim(&file, claim)?;
        let kind = if self.rng.bool() { READ } else { WRITE };
        let start = self.rng.u64(..CELLS);
        let end = self.rng.u64(start + 1..=CELLS);
        // Not looked at: the kernel lets any number of others go first. It ends when they have gone.
        let locked = set_lock(&file, kind, start..end, wait);
        if locked.is_ok() {
            (start..end).for_each(|cell| claim.set_lock(cell, kind));
            self.claim(&file, claim)?;
            self.rest();
        }
        // Closed, it is unlocked.
        self.claim(&file, Claim::default())?;
        locked
    }

    /// Nobody takes anything from a local process: each claim stands to its end.
    fn claim(&self, file: &File, claim: Claim) -> io::Result<()> {
        let Self { board, member, file: number, .. } = self;
        let inode = inode_of(&handle_of(file)?.1);
        let before = board.claim(*member, *number, inode, claim);
        board.tell_end(*member, *number, before, End::Willed);
        if claim != Claim::default() {
            board.suspect(*member, *number).into_iter().try_for_each(|it| say(&Report::Suspicion(it)))?;
        }
        Ok(())
    }

    fn rest(&mut self) {
        thread::sleep(Duration::from_millis(self.rng.u64(REST)));
    }
}

fn set_lock(file: &File, kind: u8, cells: std::ops::Range<u64>, wait: bool) -> io::Result<()> {
    let l_type = if kind == READ { libc::F_RDLCK } else { libc::F_WRLCK };
    let offset = |cell: u64| i64::try_from(cell).map_err(io::Error::other);
    let lock = libc::flock {
        l_type: l_type as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset(cells.start)?,
        l_len: offset(cells.end - cells.start)?,
        l_pid: 0,
    };
    let how = if wait { FcntlArg::F_SETLKW(&lock) } else { FcntlArg::F_SETLK(&lock) };
    Ok(fcntl(file, how).map(drop)?)
}
