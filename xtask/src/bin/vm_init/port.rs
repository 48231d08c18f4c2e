//! QEMU's debug-exit device: a byte written to its port ends the machine with an exit code.

use std::{arch::asm, convert::Infallible};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    libc,
    sys::reboot::{RebootMode, reboot},
};

/// Where `cargo xtask vm` puts the device.
const PORT: u16 = 0xf4;

/// What the byte becomes: (0x10 << 1) | 1 = 33, and 35 for a failure.
const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;

/// Ends the machine; without the device, switches it off, which the host takes for no success.
pub(crate) fn end(success: bool) -> Result<Infallible> {
    // SAFETY: ioperm changes which ports this thread may use and touches no memory.
    let allowed = unsafe { libc::ioperm(PORT.into(), 1, 1) };
    Errno::result(allowed).context("cannot get access to the exit device")?;
    let byte = if success { SUCCESS } else { FAILURE };
    // SAFETY: the port has just been allowed; the write touches neither memory nor the stack.
    unsafe {
        asm!("out dx, al", in("dx") PORT, in("al") byte, options(nomem, nostack, preserves_flags));
    }
    reboot(RebootMode::RB_POWER_OFF).context("cannot switch the machine off")
}
