//! Programs that the daemon runs itself (BPF_PROG_TEST_RUN, in its own context) to ask the kernel about an
//! inode. The answer is left in the PROBE map.

use aya_ebpf::{helpers::bpf_get_current_task, macros::raw_tracepoint, programs::RawTracePointContext};
use upcall_common::abi::{Key, Probe};

use crate::{
    kernel::{self, offset, probe},
    maps::PROBE,
};

/// Argument 0: a file descriptor of the calling process. Which inode is it?
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn identify(ctx: RawTracePointContext) -> i32 {
    answer(inode_of_descriptor(ctx.arg::<u64>(0)));
    0
}

/// Argument 0: the address where an inode was last seen. What is there now? The caller compares identities:
/// the memory may hold another inode, or none.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn peek(ctx: RawTracePointContext) -> i32 {
    answer(ctx.arg::<u64>(0));
    0
}

#[inline(always)]
fn inode_of_descriptor(fd: u64) -> u64 {
    // SAFETY: the helper takes nothing.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = probe(task, offset!(task_files));
    let table: u64 = probe(files, offset!(files_fdt));
    if fd >= u64::from(probe::<u32>(table, offset!(fdt_max))) {
        return 0;
    }
    let array: u64 = probe(table, offset!(fdt_fd));
    let file: u64 = probe(array + fd * 8, 0);
    if file == 0 { 0 } else { probe(file, offset!(file_inode)) }
}

#[inline(always)]
fn answer(inode: u64) {
    let Some(out) = PROBE.get_ptr_mut(0) else { return };
    let (key, generation) = (kernel::probe_key(inode), kernel::generation(inode));
    let overlay = kernel::is_overlay(inode);
    let upper = if overlay { kernel::upper(inode) } else { 0 };
    let seen = Probe {
        key,
        attrs: kernel::attrs(inode),
        inode,
        generation,
        busy: kernel::busy(inode),
        writecount: probe(inode, offset!(inode_writecount)),
        // A mapping of an overlay's file is one of the file below.
        mapped: kernel::mapped(if upper == 0 { inode } else { upper }),
        upper: match upper {
            0 => Key::default(),
            upper => kernel::probe_key(upper),
        },
        overlay: overlay as u32,
        faithful: kernel::is_faithful(inode) as u32,
    };
    // The inode may be freed while it is read: its identity, read again, must still be the same. Memory keeps
    // the identity of a freed one.
    let stable = inode != 0
        && !kernel::is_dying(inode)
        && kernel::probe_key(inode) == key
        && kernel::generation(inode) == generation;
    // SAFETY: the map returned it; the daemon reads it after this program has ended.
    unsafe { out.write_volatile(if stable { seen } else { Probe::default() }) };
}
