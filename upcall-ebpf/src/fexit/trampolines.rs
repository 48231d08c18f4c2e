//! Changes of trampolines themselves, by whomever. When a program comes to a function or leaves it, the kernel skips the
//! exit programs of every call that is under way there: the daemon must know.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::returned_int;
use crate::{
    atomic,
    kernel::{Ptr, load, offset},
    maps::{HOOKED, control},
};

/// `int bpf_trampoline_link_prog(struct bpf_tramp_link *link, struct bpf_trampoline *tr, ...)`
#[fexit(function = "bpf_trampoline_link_prog")]
pub fn bpf_trampoline_link_prog(ctx: FExitContext) -> i32 {
    changed(&ctx)
}

/// `int bpf_trampoline_unlink_prog(struct bpf_tramp_link *link, struct bpf_trampoline *tr, ...)`
#[fexit(function = "bpf_trampoline_unlink_prog")]
pub fn bpf_trampoline_unlink_prog(ctx: FExitContext) -> i32 {
    changed(&ctx)
}

/// In a trampoline's key: it is of a function of the kernel, not of a BPF program.
const OF_KERNEL: u64 = 1 << 31;

#[inline(always)]
fn changed(ctx: &FExitContext) -> i32 {
    let trampoline: Ptr = ctx.arg(1);
    let key: u64 = load(trampoline, offset!(trampoline_key));
    // Modules number their functions as the kernel does: to take one for another is harmless.
    let function = key as u32 & !(OF_KERNEL as u32);
    let hooked = key & OF_KERNEL != 0 && HOOKED.get_ptr(function).is_some();
    if returned_int(ctx) == 0
        && hooked
        && let Some(control) = control()
    {
        // SAFETY: the map returned it.
        unsafe { atomic::add(&raw mut (*control).trampolines, 1) };
    }
    0
}
