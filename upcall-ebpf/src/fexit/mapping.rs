//! Shared mappings. A store to a page that is already dirty and writable calls nothing at all, so a file that is
//! mapped writable counts as volatile: the daemon tells of it again and again until it is unmapped.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use upcall_common::{
    abi::{Hook, Op},
    change::{EARLY, VOLATILE},
};

use super::{
    data::{WRITTEN, changed_below},
    returned_int,
};
use crate::{
    kernel::{self, Ptr, load, offset},
    mark,
};

/// The store itself comes after the hook, when the fault returns.
const STORED: u32 = WRITTEN | VOLATILE | EARLY;

/// `vm_fault_t fault_dirty_shared_page(struct vm_fault *vmf)`: the first store to a clean page of a mapping.
#[fexit(function = "fault_dirty_shared_page")]
pub fn fault_dirty_shared_page(ctx: FExitContext) -> i32 {
    let vma = kernel::follow(ctx.arg(0), offset!(vm_fault_vma));
    let file = kernel::follow(vma, offset!(vma_file));
    changed_below(file, STORED, Op::Mmap, Hook::FaultDirtySharedPage, 1)
}

const FAULT_FLAG_WRITE: u32 = 1;
const VM_FAULT_ERROR: i64 = 0x873;

/// `vm_fault_t dax_iomap_fault(struct vm_fault *vmf, ...)`: the same where pages are the storage itself.
#[fexit(function = "dax_iomap_fault")]
pub fn dax_iomap_fault(ctx: FExitContext) -> i32 {
    let fault: Ptr = ctx.arg(0);
    if load::<u32>(fault, offset!(vm_fault_flags)) & FAULT_FLAG_WRITE == 0
        || returned_int(&ctx) & VM_FAULT_ERROR != 0
    {
        return 0;
    }
    let file = kernel::follow(kernel::follow(fault, offset!(vm_fault_vma)), offset!(vma_file));
    changed_below(file, STORED, Op::Mmap, Hook::DaxIomapFault, 1)
}

const PROT_WRITE: u64 = 2;
const MAP_SHARED: u64 = 1;

/// `int security_mmap_file(struct file *file, unsigned long prot, unsigned long flags)`: a new mapping. Where pages
/// are not tracked (tmpfs), stores to it may go without a fault of their own.
#[fentry(function = "security_mmap_file")]
pub fn security_mmap_file_entry(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u64>(1) & PROT_WRITE != 0 && ctx.arg::<u64>(2) & MAP_SHARED != 0 {
        mapped(ctx.arg(0));
    }
    0
}

const VM_SHARED: u64 = 8;

/// `int security_file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`: a mapping is
/// made writable.
#[fentry(function = "security_file_mprotect")]
pub fn security_file_mprotect_entry(ctx: FEntryContext) -> i32 {
    let vma: Ptr = ctx.arg(0);
    if ctx.arg::<u64>(2) & PROT_WRITE != 0 && load::<u64>(vma, offset!(vma_flags)) & VM_SHARED != 0 {
        mapped(kernel::follow(vma, offset!(vma_file)));
    }
    0
}

/// Nothing has changed yet: no event, but the daemon looks at the inode from now on.
#[inline(always)]
fn mapped(file: Ptr) {
    if file.is_null() {
        return;
    }
    mark::quietly(kernel::key(kernel::inode_of_file(file)), VOLATILE | EARLY, mark::CURRENT);
    let above = kernel::above(file);
    if above != 0 {
        mark::quietly(kernel::probe_key(above), VOLATILE | EARLY, mark::CURRENT);
    }
}
