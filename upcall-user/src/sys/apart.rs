//! A system call in a process of its own, for what the kernel ties to the calling process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::checked;

struct Call {
    file: libc::c_int,
    command: libc::c_int,
    argument: libc::c_int,
}

/// More than two system calls need.
const STACK: usize = 64 << 10;

/// `fcntl` with a number, in a process that shares this one's memory and descriptors, and has ended when this returns.
/// `EINTR`: somebody had it signalled, and the call may have been made.
pub fn fcntl(file: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    let mut call = Call { file: file.as_raw_fd(), command, argument };
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    let _blocked = Blocked::all()?;
    // SAFETY: the child runs `make` on a stack of its own, whose aligned end this is. Both are alive until it has ended,
    // which `end_of` waits for. It has this thread's local memory, of which it writes `errno`; this thread meanwhile
    // does nothing but wait, and no signal handler runs in either.
    let child = checked(libc::c_long::from(unsafe {
        libc::clone(
            make,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_FILES,
            (&raw mut call).cast(),
        )
    }))?;
    match end_of(Pid::from_raw(child as libc::pid_t))? {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::Error::from_raw_os_error(libc::EINTR)),
    }
}

/// In the child: makes the call and exits with its error number.
extern "C" fn make(call: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `fcntl` passes a call that outlives the child.
    let call = unsafe { &*call.cast::<Call>() };
    // SAFETY: plain system calls. `PR_SET_PDEATHSIG`: stopped, the child would outlive this process.
    let made = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        libc::fcntl(call.file, call.command, call.argument)
    };
    if made < 0 { Errno::last_raw() } else { 0 }
}

/// What it exited with; `None`: a signal ended it, or would have kept it for ever.
fn end_of(child: Pid) -> io::Result<Option<i32>> {
    // It tells nobody of its end, so it must be waited for by `__WALL`.
    let options = WaitPidFlag::__WALL | WaitPidFlag::WUNTRACED;
    loop {
        match waitpid(child, Some(options)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Some(code)),
            Ok(WaitStatus::Stopped(..)) => {
                // Until it is waited for there is such a process.
                let _ = kill(child, Signal::SIGKILL);
            }
            Ok(WaitStatus::Signaled(..)) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// All signals are blocked in this thread, and in a process that it makes: a handler would run on what they share.
struct Blocked(SigSet);

impl Blocked {
    fn all() -> io::Result<Self> {
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        Ok(Self(before))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // It was the mask before.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_call_is_made_and_its_error_is_told() {
        let file = tempfile::tempfile().unwrap();
        let flags = |command, argument| fcntl(file.as_fd(), command, argument);
        flags(libc::F_SETFD, 0).unwrap();
        // SAFETY: it takes no argument.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) }, 0, "its descriptors are shared");
        assert_eq!(flags(libc::F_SETLK, 0).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
}
