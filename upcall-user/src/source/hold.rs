//! The BPF programs for what is held for clients: who breaks leases, and who may not open what. Loaded beside the
//! source's, when somebody needs them, and never pinned: they end with the daemon.

use std::io;

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, MapError},
    programs::{BtfTracePoint, Lsm, ProgramError, links::FdLink},
};
use upcall_common::abi::{DENY_READ, DENY_WRITE, Key, maps};

use super::{
    attach::attach_tracepoint,
    btf::Layout,
    error::describe,
    load::{OBJECT, program},
    survey::bpf_lsm_is_active,
};

/// Why this kernel cannot do it.
#[derive(Debug, thiserror::Error)]
#[error("unsupported: {0}")]
pub struct Unsupported(String);

impl Unsupported {
    fn because(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

const BREAK_TRACEPOINTS: [&str; 2] = ["break_lease_block", "break_lease_noblock"];
const SHARE_HOOKS: [&str; 2] = ["file_open", "path_truncate"];

type ByKey = HashMap<MapData, [u64; 2], u32>;

/// Who breaks leases, as far as is known.
pub struct Breakers {
    last: ByKey,
    #[expect(dead_code, reason = "kept for what dropping them does")]
    links: Vec<FdLink>,
}

impl Breakers {
    pub fn load() -> Result<Self, Unsupported> {
        let btf = Btf::from_sys_fs().map_err(Unsupported::because)?;
        let mut ebpf = load(&btf, 0, 0)?;
        let mut links = Vec::new();
        for name in BREAK_TRACEPOINTS {
            let program: &mut BtfTracePoint = program(&mut ebpf, name).map_err(Unsupported::because)?;
            links.push(attach_tracepoint(program, name, &btf).map_err(refused(name))?);
        }
        Ok(Self { last: by_key(&mut ebpf, maps::BREAKERS)?, links })
    }

    /// The process that broke a lease of this inode last, told once; 0 if a kernel thread did. It knows of a break as
    /// soon as that is told, since the kernel writes it down under the lock by which the lease is looked at.
    pub fn take(&mut self, inode: Key) -> Option<u32> {
        let pid = self.last.get(&inode.words(), 0).ok()?;
        // Another break may come in between: then nobody is known for it.
        let _ = self.last.remove(&inode.words());
        Some(pid)
    }
}

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
    denied: ByKey,
    count: usize,
    programs: Ebpf,
    links: Vec<FdLink>,
}

impl Shares {
    /// For at most so many inodes. Needs the `bpf` LSM, BPF trampolines and the initial pid namespace, by whose numbers
    /// the kernel knows the daemon.
    pub fn load(most: u32) -> Result<Self, Unsupported> {
        if !bpf_lsm_is_active() {
            return Err(Unsupported("the `bpf` LSM is not active (see /sys/kernel/security/lsm)".into()));
        }
        if !crate::sys::credentials::in_initial_pid_namespace() {
            return Err(Unsupported("the daemon is not in the initial pid namespace".into()));
        }
        let btf = Btf::from_sys_fs().map_err(Unsupported::because)?;
        let mut programs = load(&btf, std::process::id(), most)?;
        for name in SHARE_HOOKS {
            let lsm: &mut Lsm = program(&mut programs, name).map_err(Unsupported::because)?;
            lsm.load(name, &btf).map_err(refused(name))?;
        }
        let denied = by_key(&mut programs, maps::DENIED)?;
        let mut shares = Self { denied, count: 0, programs, links: Vec::new() };
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
        let links = SHARE_HOOKS.map(|name| {
            let lsm: &mut Lsm = program(&mut self.programs, name).map_err(io::Error::other)?;
            let attached = lsm.attach().and_then(|link| lsm.take_link(link));
            attached.map(FdLink::from).map_err(|error| io::Error::other(refused(name)(error)))
        });
        self.links = links.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// An instance of the object of its own.
fn load(btf: &Btf, daemon: u32, most_denied: u32) -> Result<Ebpf, Unsupported> {
    let layout = Layout::of_running_kernel().map_err(Unsupported::because)?;
    let offsets = layout.offsets().map_err(Unsupported::because)?.words();
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global("OFFSETS", &offsets, true)
        .override_global("DAEMON", &daemon, true)
        .map_max_entries(maps::DENIED, most_denied.max(1))
        .load(OBJECT)
        .map_err(Unsupported::because)
}

/// Takes a map out; those that only the sources' programs use go.
fn by_key(ebpf: &mut Ebpf, wanted: &'static str) -> Result<ByKey, Unsupported> {
    let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    let mut maps = names.iter().filter_map(|name| Some((name, ebpf.take_map(name)?)));
    let map: Map = maps
        .find_map(|(name, map)| (name == wanted).then_some(map))
        .ok_or_else(|| Unsupported(format!("the BPF object lacks {wanted}")))?;
    maps.for_each(drop);
    map.try_into().map_err(Unsupported::because)
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> Unsupported {
    move |error| Unsupported(format!("the kernel refused BPF program {name}: {}", describe(&error)))
}
