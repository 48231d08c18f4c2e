//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use super::{checked, checked_fd};

/// The peer as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIds {
    /// 0 where the peer's process is not visible here (another pid namespace).
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// By `SO_PEERCRED`.
pub fn peer_ids(socket: BorrowedFd<'_>) -> io::Result<PeerIds> {
    let ids = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(PeerIds { pid: ids.pid(), uid: ids.uid(), gid: ids.gid() })
}

/// Supplementary groups of the peer, by `SO_PEERGROUPS`.
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let bytes = groups.len().saturating_mul(size_of::<u32>());
        let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes to the vector, which has them, and the length
        // that it wrote or needs to `length`. Any bytes are valid group ids.
        let result = checked(libc::c_long::from(unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        }));
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<u32>();
        match result {
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // The groups of a connected peer never change, so the second attempt has room.
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A descriptor of the peer's process, by which a reused pid is not mistaken for it. Before Linux 6.5 it is
/// opened by pid, which is sound only while the peer is known to live.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match getsockopt(&socket, sockopt::PeerPidfd) {
        Err(Errno::ENOPROTOOPT) => pidfd_open(peer_ids(socket)?.pid),
        answer => Ok(answer?),
    }
}

/// `ESRCH` where there is no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: two integers go in, a new descriptor (close-on-exec) comes out.
    checked_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Whether the process still runs. It counts as dead before it has been reaped.
pub fn pidfd_is_alive(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::ZERO) {
            Ok(ready) => return Ok(ready == 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use nix::unistd::{getegid, geteuid, getgroups};

    use super::*;

    #[test]
    fn our_own_socket_pair_has_our_own_credentials() {
        let (near, _far) = UnixStream::pair().unwrap();
        let ids = peer_ids(near.as_fd()).unwrap();
        assert_eq!(ids.pid, std::process::id() as i32);
        assert_eq!((ids.uid, ids.gid), (geteuid().as_raw(), getegid().as_raw()));
        let groups: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(peer_groups(near.as_fd()).unwrap(), groups);
        assert!(pidfd_is_alive(peer_pidfd(near.as_fd()).unwrap().as_fd()).unwrap());
    }

    #[test]
    fn more_groups_than_the_first_guess() {
        if crate::sys::testing::needs_root() {
            return;
        }
        let groups: Vec<u32> = (80_000..80_200).collect();
        let wanted = groups.clone();
        // The pair is made by a thread that holds them: SO_PEERGROUPS is a snapshot of its credentials.
        let guard = crate::sys::credentials::Impersonation::enter(4321, 4322, &groups).unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        drop(guard);
        assert_eq!(peer_groups(near.as_fd()).unwrap(), wanted);
    }

    #[test]
    fn a_dead_process_is_seen_before_and_after_reaping() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pidfd = pidfd_open(child.id() as i32).unwrap();
        assert!(pidfd_is_alive(pidfd.as_fd()).unwrap());
        drop(child.stdin.take());
        let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::NONE).unwrap();
        assert!(!pidfd_is_alive(pidfd.as_fd()).unwrap());
        child.wait().unwrap();
        assert!(!pidfd_is_alive(pidfd.as_fd()).unwrap());
        assert_eq!(pidfd_open(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_socket_of_another_family_has_no_peer_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(peer_groups(socket.as_fd()).is_err());
        assert!(peer_pidfd(socket.as_fd()).is_err());
    }
}
