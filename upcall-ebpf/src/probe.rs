//! Programs that the daemon runs itself (BPF_PROG_TEST_RUN, in its own context) to ask the kernel about
//! inodes. The answers are left in the PROBES map.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use upcall_common::abi::{Key, PROBES, Probe};

use crate::{
    kernel::{self, Fields, Ptr, follow, load, offset, probe},
    maps::{INODE, PROBES as ANSWERS},
};

/// Argument 0: how many records have in `inode` a file descriptor of the calling process. Which inodes are they?
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn identify(ctx: RawTracePointContext) -> i32 {
    let count = ctx.arg::<u64>(0);
    let table = follow(follow(kernel::current(), offset!(task_files)), offset!(files_fdt));
    for place in 0..PROBES {
        if u64::from(place) >= count {
            break;
        }
        let Some(record) = ANSWERS.get_ptr_mut(place) else { break };
        // SAFETY: the map returned it; the daemon writes it before this program runs, and nobody else does.
        let descriptor = unsafe { (&raw const (*record).inode).read_volatile() };
        answer(place, inode_of_descriptor(table, descriptor));
    }
    0
}

/// Argument 0: the address where an inode was last seen. What is there now? The caller compares identities:
/// the memory may hold another inode, or none.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn peek(ctx: RawTracePointContext) -> i32 {
    answer(0, ctx.arg::<u64>(0))
}

#[inline(always)]
fn inode_of_descriptor(table: Ptr, descriptor: u64) -> u64 {
    if descriptor >= u64::from(load::<u32>(table, offset!(fdt_max))) {
        return 0;
    }
    let array: u64 = load(table, offset!(fdt_fd));
    let file: u64 = probe(array + descriptor * 8, 0);
    if file == 0 { 0 } else { probe(file, offset!(file_inode)) }
}

/// Exported: the verifier then goes through it once, whatever calls it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer(place: u32, address: u64) -> i32 {
    let (Some(record), Some(room)) = (ANSWERS.get_ptr_mut(place), INODE.get_ptr_mut(0)) else { return 0 };
    let inode = kernel::copy(address, room);
    let (number, sb) = (inode.field::<u64>(offset!(inode_ino)), inode.field::<u64>(offset!(inode_sb)));
    let (generation, magic) = (kernel::generation(inode), kernel::magic(inode));
    let overlay = kernel::is_overlay(magic);
    let upper = if overlay { kernel::upper(address) } else { 0 };
    let seen = Probe {
        key: Key {
            ino: number,
            dev: probe(sb, offset!(sb_dev)),
            subvolume: kernel::subvolume(address, magic),
        },
        attrs: kernel::attrs(inode),
        inode: address,
        generation,
        busy: kernel::busy(inode),
        writecount: inode.field(offset!(inode_writecount)),
        // A mapping of an overlay's file is one of the file below.
        mapped: if upper == 0 { kernel::mapped(inode) } else { kernel::mapped(upper) },
        upper: match upper {
            0 => Key::default(),
            upper => kernel::probe_key(upper),
        },
        overlay: overlay as u32,
        faithful: kernel::is_faithful(inode, magic) as u32,
    };
    // The inode may be freed while it is read: its identity, read again, must still be the same. Memory keeps
    // the identity of a freed one.
    let stable = address != 0
        && !kernel::is_dying(address)
        && probe::<u64>(address, offset!(inode_ino)) == number
        && probe::<u64>(address, offset!(inode_sb)) == sb
        && kernel::generation(address) == generation;
    // SAFETY: the map returned it; the daemon reads it after this program has ended.
    unsafe { record.write_volatile(if stable { seen } else { Probe::default() }) };
    0
}
