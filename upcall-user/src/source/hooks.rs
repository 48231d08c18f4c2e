//! Which BPF program sees which change: the table that the loader attaches from and `upcall doctor` prints.

use upcall_common::abi::Hook;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `tp_btf` on a tracepoint.
    Tracepoint,
    /// Trampoline when the function is entered.
    Entry,
    /// Trampoline when the function has returned.
    Exit,
}

/// One program of a source.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub hook: Hook,
    pub kind: Kind,
    /// The kernel function or tracepoint.
    pub on: &'static str,
}

impl Program {
    /// Name of the BPF program in the object.
    pub const fn name(&self) -> &'static str {
        self.hook.name()
    }

    /// Whether it is on a function that no program of ours watches the end of. When a program comes to a function or
    /// leaves it, the kernel skips the exit programs of every call that is under way there.
    pub(super) fn spares_exits(&self) -> bool {
        match self.kind {
            Kind::Tracepoint => true,
            Kind::Exit => false,
            Kind::Entry => !FEXIT.iter().any(|other| other.kind == Kind::Exit && other.on == self.on),
        }
    }
}

const fn tracepoint(hook: Hook) -> Program {
    Program { hook, kind: Kind::Tracepoint, on: hook.name() }
}
const fn exit(hook: Hook) -> Program {
    Program { hook, kind: Kind::Exit, on: hook.name() }
}
const fn entry(hook: Hook) -> Program {
    Program { hook, kind: Kind::Entry, on: hook.name() }
}

const fn entry_of(hook: Hook, on: &'static str) -> Program {
    Program { hook, kind: Kind::Entry, on }
}

/// All of source `timestamp`: each is needed.
pub const TIMESTAMP: &[Program] =
    &[tracepoint(Hook::CtimeNsXchg), tracepoint(Hook::CtimeXchgSkip), tracepoint(Hook::InodeSetCtimeToTs)];

/// Source `fexit`: each alone is optional, and its loss is reported.
pub const FEXIT: &[Program] = &[
    exit(Hook::VfsWrite),
    exit(Hook::DoIterReadvWritev),
    exit(Hook::VfsIocbIterWrite),
    exit(Hook::KernelWriteIter),
    entry(Hook::KiocbDone),
    entry(Hook::IoCompleteRw),
    entry(Hook::IoCompleteRwIopoll),
    entry_of(Hook::AioWriteEntry, "aio_write"),
    entry(Hook::AioCompleteRw),
    exit(Hook::IterFileSpliceWrite),
    exit(Hook::VfsCopyFileRange),
    exit(Hook::VfsCloneFileRange),
    exit(Hook::VfsDedupeFileRangeOne),
    exit(Hook::VfsFallocate),
    exit(Hook::NotifyChange),
    exit(Hook::VfsSetxattrNoperm),
    exit(Hook::VfsRemovexattrLocked),
    exit(Hook::SetPosixAcl),
    exit(Hook::VfsFileattrSet),
    exit(Hook::FsverityIoctlEnable),
    entry_of(Hook::FileIoctlEntry, "security_file_ioctl"),
    exit(Hook::MntDropWriteFile),
    entry_of(Hook::InodeDioWaitEntry, "inode_dio_wait"),
    entry_of(Hook::TruncatePagecacheRangeEntry, "truncate_pagecache_range"),
    exit(Hook::GenericPerformWrite),
    exit(Hook::IomapFileBufferedWrite),
    entry_of(Hook::IomapDioCompleteEntry, "iomap_dio_complete"),
    exit(Hook::IomapDioComplete),
    exit(Hook::DaxIomapRw),
    exit(Hook::FilemapDirtyFolio),
    exit(Hook::VfsCreate),
    exit(Hook::VfsMknod),
    exit(Hook::VfsSymlink),
    exit(Hook::VfsMkdir),
    exit(Hook::VfsLink),
    entry_of(Hook::VfsUnlinkEntry, "vfs_unlink"),
    exit(Hook::VfsUnlink),
    entry_of(Hook::VfsRmdirEntry, "vfs_rmdir"),
    exit(Hook::VfsRmdir),
    exit(Hook::VfsRename),
    entry(Hook::DoDentryOpen),
    exit(Hook::FaultDirtySharedPage),
    exit(Hook::DaxIomapFault),
    entry_of(Hook::MmapFileEntry, "security_mmap_file"),
    entry_of(Hook::FileMprotectEntry, "security_file_mprotect"),
    exit(Hook::VfsFsyncRange),
    entry(Hook::Evict),
];

/// Beside `fexit`: they count what makes the kernel skip its exit programs.
pub const TRAMPOLINES: &[Program] = &[exit(Hook::BpfTrampolineLinkProg), exit(Hook::BpfTrampolineUnlinkProg)];

/// Without these, `fexit` is no source at all: a kernel that refuses them refuses trampolines.
pub const FEXIT_CORE: &[Hook] = &[Hook::VfsWrite, Hook::NotifyChange];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spares_exits_is_on_no_function_with_an_exit_program() {
        let spares = |hook| {
            let program = FEXIT.iter().chain(TIMESTAMP).find(|program| program.hook == hook);
            program.expect("in a table").spares_exits()
        };
        assert!(spares(Hook::Evict) && spares(Hook::CtimeNsXchg));
        assert!(!spares(Hook::VfsWrite) && !spares(Hook::VfsUnlinkEntry));
    }
}
