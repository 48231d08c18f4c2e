use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, getgrouplist};

use super::AccessError;
use crate::sys::credentials::Impersonation;
use crate::sys::peer::{peer_groups, peer_ids};

/// The user whose permissions count for a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum PrincipalError {
    #[error("there is no user {0:?} on this host; name one that exists, such as nobody")]
    Unknown(String),
    #[error("cannot look up user {name:?}")]
    Lookup { name: String, source: io::Error },
}

impl Principal {
    /// The peer of a Unix socket, as it was when it connected.
    pub fn of_peer(socket: impl AsFd) -> io::Result<Self> {
        let ids = peer_ids(socket.as_fd())?;
        Ok(Self { uid: ids.uid, gid: ids.gid, groups: peer_groups(socket.as_fd())? })
    }

    /// A user of this host by name, with the groups the host gives it.
    pub fn of_user(name: &str) -> Result<Self, PrincipalError> {
        let unknown = || PrincipalError::Unknown(name.to_owned());
        let lookup =
            |errno: nix::Error| PrincipalError::Lookup { name: name.to_owned(), source: errno.into() };
        let user = User::from_name(name).map_err(lookup)?.ok_or_else(unknown)?;
        let groups = getgrouplist(&CString::new(name).map_err(|_| unknown())?, user.gid).map_err(lookup)?;
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        })
    }

    /// Root or the daemon's own user: may do whatever the daemon may.
    pub fn is_operator(&self) -> bool {
        self.uid == 0 || Uid::effective().as_raw() == self.uid
    }

    /// The current thread acts as this principal until the guard is dropped. An operator acts as the daemon.
    pub(super) fn assume(&self) -> Result<Option<Impersonation>, Errno> {
        if self.is_operator() {
            return Ok(None);
        }
        Impersonation::enter(self.uid, self.gid, &self.groups)
            .map(Some)
            .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    /// What to tell a client whose principal the daemon cannot assume.
    pub(super) fn not_assumed(&self, errno: Errno) -> AccessError {
        if errno == Errno::EPERM {
            return AccessError::NotPermitted(format!(
                "the daemon may not check permissions as user {}: it lacks CAP_SETUID or CAP_SETGID; run it as root",
                self.uid
            ));
        }
        AccessError::Internal { tried: format!("act as user {}", self.uid), source: errno.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn our_own_peer_is_an_operator() {
        let (near, _far) = UnixStream::pair().unwrap();
        let peer = Principal::of_peer(&near).unwrap();
        assert_eq!(peer.uid, Uid::effective().as_raw());
        assert!(peer.is_operator());
        assert!(peer.assume().unwrap().is_none());
    }

    #[test]
    fn users_are_found_by_name() {
        let root = Principal::of_user("root").unwrap();
        assert_eq!((root.uid, root.is_operator()), (0, true));
        let nobody = Principal::of_user("nobody").unwrap();
        assert!(nobody.uid != 0 && nobody.groups.contains(&nobody.gid));
        assert_eq!(nobody.is_operator(), Uid::effective().as_raw() == nobody.uid);
        assert!(matches!(Principal::of_user("no such user"), Err(PrincipalError::Unknown(_))));
        assert!(Principal::of_user("nul\0").is_err());
    }
}
