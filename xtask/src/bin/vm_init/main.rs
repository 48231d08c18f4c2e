//! The first process of the test machine: makes the guest usable, runs the kernel tests, says on the
//! console how they went, and ends the machine with an exit code that agrees.

mod disks;
mod modules;
mod mounts;
mod network;
mod overlay;
mod port;
mod tests;

use std::process;

use anyhow::Result;

/// Where `cargo xtask vm` leaves its orders.
const ORDERS: &str = "/etc/upcall-vm";

fn main() -> ! {
    let success = match run() {
        Ok(0) => {
            println!("init: success");
            true
        }
        Ok(code) => {
            println!("init: failure {code}");
            false
        }
        Err(error) => {
            println!("init: failure: {error:#}");
            false
        }
    };
    // The console's last words must be out before the machine is gone.
    let drained = nix::sys::termios::tcdrain(std::io::stdout());
    let Err(error) = drained.map_err(anyhow::Error::from).and_then(|()| port::end(success));
    println!("init: cannot end the machine: {error:#}");
    // The kernel panics when its first process ends, and the machine ends with the panic.
    process::exit(1)
}

/// The exit code of the test program.
fn run() -> Result<i32> {
    mounts::kernel_filesystems()?;
    modules::load()?;
    mounts::nfs_filesystems();
    network::up()?;
    let filesystems = disks::mount();
    tests::run(&filesystems)
}
