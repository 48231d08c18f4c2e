//! The BPF programs. Entry points are in [`timestamp`], [`fexit`] and [`probe`], and all changes end in
//! [`mark::change`]; those in [`hold`] are about who may open a file. Nothing here waits, allocates or loops without a bound.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "core::intrinsics is the only way to BPF atomics")]

mod atomic;
mod event;
mod fexit;
mod hold;
mod index;
mod kernel;
mod maps;
mod mark;
mod probe;
mod shared;
mod timestamp;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
