//! Source `fexit`: trampolines on VFS functions. Programs at a function's exit see a change after it has happened, with
//! its result; those at an entry note what the exit will not show, or mark what no exit tells of. Above each stands the
//! prototype it relies on; where prototypes differ between versions, [`crate::kernel::offsets`] says which one the running
//! kernel has.
//! Programs attach one by one: one that the kernel lacks leaves the others at work.

mod attributes;
mod data;
mod entries;
mod inner;
mod ioctl;
mod lifetime;
mod mapping;
mod trampolines;

use aya_ebpf::programs::FExitContext;

/// What the function returned, as a 64-bit number.
#[inline(always)]
fn returned(ctx: &FExitContext) -> i64 {
    ctx.ret::<i64>().unwrap_or(-1)
}

/// What a function of type `int` returned: the upper half of the register is garbage.
#[inline(always)]
fn returned_int(ctx: &FExitContext) -> i64 {
    i64::from(returned(ctx) as i32)
}
