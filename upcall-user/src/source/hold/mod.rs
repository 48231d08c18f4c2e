//! The BPF programs for what is held for clients: who breaks leases, and who may not open what. Loaded beside the
//! source's, when somebody needs them, and never pinned: they end with the daemon.

mod breaks;
mod shares;

use aya::{Btf, Ebpf, EbpfLoader, maps::Map, programs::ProgramError};
use upcall_common::abi::{Broken, Offsets, maps};

pub use breaks::Breaks;
pub use shares::{Deny, Shares};

use super::{error::describe, load::OBJECT};

/// Why this kernel cannot do it.
#[derive(Debug, thiserror::Error)]
#[error("unsupported: {0}")]
pub struct Unsupported(String);

impl Unsupported {
    fn because(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// Files that may be denied at a time.
const MOST_DENIED: u32 = 65_536;

/// Breaks that may wait to be read: of more, every lease is looked at.
pub const ROOM: u32 = RING_BYTES / (RECORD_HEADER + size_of::<Broken>() as u32);
const RING_BYTES: u32 = 1 << 16;
/// BPF_RINGBUF_HDR_SZ
const RECORD_HEADER: u32 = 8;

/// An instance of the object of its own, for all of it: to open one takes long. What is not asked of it is not loaded
/// into the kernel.
pub struct Programs {
    ebpf: Ebpf,
    btf: Btf,
}

impl Programs {
    /// `offsets`: the running kernel's.
    pub fn open(offsets: &Offsets) -> Result<Self, Unsupported> {
        let btf = Btf::from_sys_fs().map_err(Unsupported::because)?;
        let ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("OFFSETS", &offsets.words(), true)
            .override_global("DAEMON", &std::process::id(), true)
            .map_max_entries(maps::BREAKS, RING_BYTES)
            .map_max_entries(maps::DENIED, MOST_DENIED)
            .load(OBJECT)
            .map_err(Unsupported::because)?;
        Ok(Self { ebpf, btf })
    }

    /// To be called in the runtime that is to wait for them.
    pub fn breaks(&mut self) -> Result<Breaks, Unsupported> {
        Breaks::load(self)
    }

    pub fn shares(mut self) -> Result<Shares, Unsupported> {
        Shares::check()?;
        let denied = self.take(maps::DENIED)?;
        // Those that only the sources' programs use go.
        let names: Vec<String> = self.ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        names.iter().for_each(|name| drop(self.ebpf.take_map(name)));
        Shares::load(self, denied)
    }

    fn take(&mut self, name: &'static str) -> Result<Map, Unsupported> {
        self.ebpf.take_map(name).ok_or_else(|| Unsupported(format!("the BPF object lacks {name}")))
    }
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> Unsupported {
    move |error| Unsupported(format!("the kernel refused BPF program {name}: {}", describe(&error)))
}
