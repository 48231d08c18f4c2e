//! Who breaks leases.

use aya::{
    maps::{HashMap, MapData},
    programs::{BtfTracePoint, links::FdLink},
};
use upcall_common::abi::{Key, maps};

use super::{Programs, Unsupported, refused};
use crate::source::{attach::attach_tracepoint, load::program};

const TRACEPOINTS: [&str; 2] = ["break_lease_block", "break_lease_noblock"];

/// Who breaks leases, as far as is known.
pub struct Breakers {
    last: HashMap<MapData, [u64; 2], u32>,
    #[expect(dead_code, reason = "kept for what dropping them does")]
    links: Vec<FdLink>,
}

impl Breakers {
    pub(super) fn load(programs: &mut Programs) -> Result<Self, Unsupported> {
        let last = programs.take(maps::BREAKERS)?.try_into().map_err(Unsupported::because)?;
        let Programs { ebpf, btf } = programs;
        let links = TRACEPOINTS.map(|name| {
            let tracepoint: &mut BtfTracePoint = program(ebpf, name).map_err(Unsupported::because)?;
            attach_tracepoint(tracepoint, name, btf).map_err(refused(name))
        });
        Ok(Self { last, links: links.into_iter().collect::<Result<_, _>>()? })
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
