//! What may not be opened.

use std::io;

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
    programs::{Lsm, links::FdLink},
};
use upcall_common::abi::{DENY_READ, DENY_WRITE, Key};

use super::{Programs, Unsupported, refused};
use crate::{
    source::{load::program, survey::bpf_lsm_is_active},
    sys::credentials::in_initial_pid_namespace,
};

const HOOKS: [&str; 2] = ["file_open", "path_truncate"];

/// What an inode may not be opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    pub read: bool,
    pub write: bool,
}

impl Deny {
    const fn bits(self) -> u32 {
        (if self.read { DENY_READ } else { 0 }) | (if self.write { DENY_WRITE } else { 0 })
    }
}

/// Inodes that other processes may not open. Whoever tries gets `EBUSY`, root and kernel threads (nfsd) included: unlike
/// `EACCES`, it says that somebody uses the file, and that it may work later. To execute is to read; `truncate`
/// is to write, and so is `O_TRUNC` in an open for reading. Only the daemon is exempt. What is open already stays open
/// ([`crate::hold::find_opener`] finds it), and `O_PATH`,
/// `stat`, `rename`, `unlink` and changes of attributes go on.
///
/// Open fails: when the daemon dies, nothing is denied any more. The programs are attached only while something is.
pub struct Shares {
    denied: HashMap<MapData, [u64; 2], u32>,
    count: usize,
    ebpf: Ebpf,
    links: Vec<FdLink>,
}

impl Shares {
    /// Whether this host can: it needs the `bpf` LSM, BPF trampolines and the initial pid namespace, by whose numbers
    /// the kernel knows the daemon.
    pub fn check() -> Result<(), Unsupported> {
        if !bpf_lsm_is_active() {
            return Err(Unsupported("the `bpf` LSM is not active (see /sys/kernel/security/lsm)".into()));
        }
        if !in_initial_pid_namespace() {
            return Err(Unsupported("the daemon is not in the initial pid namespace".into()));
        }
        Ok(())
    }

    pub(super) fn load(programs: Programs, denied: Map) -> Result<Self, Unsupported> {
        let Programs { mut ebpf, btf } = programs;
        for name in HOOKS {
            let lsm: &mut Lsm = program(&mut ebpf, name).map_err(Unsupported::because)?;
            lsm.load(name, &btf).map_err(refused(name))?;
        }
        let denied = denied.try_into().map_err(Unsupported::because)?;
        let mut shares = Self { denied, count: 0, ebpf, links: Vec::new() };
        // Where trampolines are refused, this is.
        shares.attach().map_err(Unsupported::because)?;
        shares.links.clear();
        Ok(shares)
    }

    /// From now on the inode may not be opened for this, whatever was denied before.
    pub fn deny(&mut self, inode: Key, deny: Deny) -> io::Result<()> {
        if deny == Deny::default() {
            return self.allow(inode);
        }
        let is_new = self.denied.get(&inode.words(), 0).is_err();
        self.denied.insert(inode.words(), deny.bits(), 0).map_err(io::Error::other)?;
        self.count += usize::from(is_new);
        if self.links.is_empty()
            && let Err(error) = self.attach()
        {
            self.allow(inode)?;
            return Err(error);
        }
        Ok(())
    }

    /// The inode may be opened again. Nothing happens if it could be all the time.
    pub fn allow(&mut self, inode: Key) -> io::Result<()> {
        match self.denied.remove(&inode.words()) {
            Ok(()) => self.count -= 1,
            Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        if self.count == 0 {
            self.links.clear();
        }
        Ok(())
    }

    fn attach(&mut self) -> io::Result<()> {
        let links = HOOKS.map(|name| {
            let lsm: &mut Lsm = program(&mut self.ebpf, name).map_err(io::Error::other)?;
            let attached = lsm.attach().and_then(|link| lsm.take_link(link));
            attached.map(FdLink::from).map_err(|error| io::Error::other(refused(name)(error)))
        });
        self.links = links.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }
}
