//! QEMU's debug-exit device: a byte written to its port ends the machine with an exit code.

use std::convert::Infallible;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

/// Where `cargo xtask vm` puts the device.
const PORT: u16 = 0xf4;

/// What the byte becomes: (0x10 << 1) | 1 = 33, and 35 for a failure.
const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;

/// Ends the machine; without the device, switches it off, which the host takes for no success.
pub(crate) fn end(success: bool) -> Result<Infallible> {
    write(if success { SUCCESS } else { FAILURE })?;
    reboot(RebootMode::RB_POWER_OFF).context("cannot switch the machine off")
}

#[cfg(target_arch = "x86_64")]
fn write(byte: u8) -> Result<()> {
    use nix::{errno::Errno, libc};

    // SAFETY: ioperm changes which ports this thread may use and touches no memory.
    let allowed = unsafe { libc::ioperm(PORT.into(), 1, 1) };
    Errno::result(allowed).context("cannot get access to the exit device")?;
    // SAFETY: the port has just been allowed; the write touches neither memory nor the stack.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") PORT, in("al") byte, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}

/// The test machine is an x86-64; elsewhere this only has to compile.
#[cfg(not(target_arch = "x86_64"))]
fn write(byte: u8) -> Result<()> {
    anyhow::bail!("no port {PORT:#x} to write {byte:#x} to: this is no x86-64")
}
