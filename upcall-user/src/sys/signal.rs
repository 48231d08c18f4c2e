//! Signals that are read from a descriptor, by the one thread that they are sent to.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::unistd::{Pid, gettid};
use tokio::io::unix::AsyncFd;

use super::{checked, checked_fd, readiness};

/// How many are read at once.
const BATCH: usize = 32;

/// The signal that says which file it is about. The first two real-time signals are the C library's, and it counts
/// them away.
pub fn file_signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// What the thread was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Something happened to the file of this number.
    File(RawFd),
    /// Something happened to some file: the kernel had no memory, or no right, to queue another signal.
    Overflow,
}

/// [`file_signal`] and `SIGIO` of the thread that made it, in which they are blocked from then on.
#[derive(Debug)]
pub struct FileSignals {
    descriptor: AsyncFd<OwnedFd>,
    thread: Pid,
}

impl FileSignals {
    /// To be called, and read, in the one thread that runs the current tokio runtime: a signal descriptor shows each
    /// reader its own signals.
    pub fn of_this_thread() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the set is initialised by `sigemptyset` before anything reads it; the numbers are valid signals;
        // to block them changes nothing but this thread's mask.
        let descriptor = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), file_signal());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGIO);
            match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) {
                0 => libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK),
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        };
        let descriptor = readiness::readable(checked_fd(descriptor.into())?)?;
        Ok(Self { descriptor, thread: gettid() })
    }

    /// The thread that the signals must be sent to.
    pub fn thread(&self) -> Pid {
        self.thread
    }

    /// Waits for signals. Those that are read are returned at once, so nothing is lost if the wait is given up.
    pub async fn read(&self) -> io::Result<Vec<Sent>> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            if let Ok(sent) = ready.try_io(|descriptor| self.take(descriptor.get_ref())) {
                return sent;
            }
        }
    }

    fn take(&self, descriptor: &OwnedFd) -> io::Result<Vec<Sent>> {
        if gettid() != self.thread {
            return Err(io::Error::other("signals are read by another thread than they are sent to"));
        }
        let mut records = [const { MaybeUninit::<libc::signalfd_siginfo>::zeroed() }; BATCH];
        // SAFETY: the kernel writes at most the bytes of the array to it.
        let bytes = checked(unsafe {
            libc::read(descriptor.as_raw_fd(), records.as_mut_ptr().cast(), size_of_val(&records))
        } as libc::c_long)?;
        let count = usize::try_from(bytes).map_err(io::Error::other)? / size_of::<libc::signalfd_siginfo>();
        let sent = records.iter().take(count).map(|record| {
            // SAFETY: the record consists of integers; the kernel wrote it, and before it was zeros.
            let record = unsafe { record.assume_init_ref() };
            // By hand, as `kill` does, it names no file.
            match record.ssi_code > 0 && record.ssi_signo == file_signal() as u32 {
                true => Sent::File(record.ssi_fd),
                false => Sent::Overflow,
            }
        });
        Ok(sent.collect())
    }
}
