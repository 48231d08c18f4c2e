//! `cargo xtask vm`: the kernel tests inside Debian kernels, under QEMU with software emulation, so that
//! no nested virtualisation and no privilege is needed.

mod apt;
mod cpio;
mod disks;
mod download;
mod initramfs;
mod kernel;
mod modules;
mod programs;
mod qemu;
mod verdict;

use std::{env, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    packages,
    parallel::{self, Work},
    paths,
    stage::Stage,
    summary::Summary,
};
pub(crate) use kernel::Kernel;
pub(crate) use programs::Programs;
use qemu::Machine;

const PACKAGES: [&str; 6] = ["qemu-system-x86", "e2fsprogs", "xfsprogs", "btrfs-progs", "xz-utils", "zstd"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A kernel to run; may be repeated. All of them when not given
    #[arg(long = "kernel", value_enum)]
    kernels: Vec<Kernel>,
    /// Seconds after which a kernel is given up
    #[arg(long, default_value_t = DEFAULT_TIMEOUT.as_secs())]
    timeout: u64,
    /// A static program to run inside instead of the kernel tests
    #[arg(long)]
    program: Option<PathBuf>,
    /// Arguments for the test program
    #[arg(last = true)]
    args: Vec<String>,
}

/// Emulation is slow; twice what the tests have ever taken.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(25 * 60);

/// Why this machine cannot run them, if it cannot: the kernels and how they are found are Debian 12's, and
/// the programs inside are built for the machine here.
pub(crate) fn unavailable() -> Option<String> {
    unavailable_on(&packages::system(), env::consts::ARCH)
}

fn unavailable_on(system: &str, arch: &str) -> Option<String> {
    (system != "debian 12" || arch != "x86_64").then(|| {
        format!("they need Debian 12 on x86-64, in a container if need be; this is {system} on {arch}")
    })
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(why) = unavailable() {
        bail!("no kernels under QEMU: {why}");
    }
    let programs = match &args.program {
        Some(program) => Programs::with(program)?,
        None => Programs::build()?,
    };
    let kernels = if args.kernels.is_empty() { &Kernel::ALL[..] } else { &args.kernels };
    let timeout = Duration::from_secs(args.timeout);
    let kernels = kernels.iter().map(|&kernel| (kernel, args.args.clone())).collect();
    let stages = parallel::run(boots(kernels, &programs, timeout));
    for stage in &stages {
        println!("{}", stage.line(Summary::to_string));
    }
    let good = stages.iter().all(|stage| stage.result.as_ref().is_ok_and(|summary| summary.failed == 0));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What boots kernels, runs the programs in each, with its arguments, and says how the tests ended. An error means that
/// something else than a test failed.
pub(crate) fn boots(
    kernels: Vec<(Kernel, Vec<String>)>,
    programs: &Programs,
    timeout: Duration,
) -> Vec<Work> {
    let boot = |(kernel, args): (Kernel, Vec<String>)| -> Work {
        // Now, one after the other: apt allows no two at a time.
        let machine = machine(kernel, programs, &args);
        let show = move |line: &str| println!("{kernel:>6} | {line}");
        Box::new(move || Stage::run(format!("vm {kernel}"), || machine?.run(show, timeout)))
    };
    kernels.into_iter().map(boot).collect()
}

/// Runs the measuring program in a kernel, showing each line of the console to `see`.
pub(crate) fn bench(
    kernel: Kernel,
    args: &[String],
    timeout: Duration,
    mut see: impl FnMut(&str),
) -> Result<()> {
    if let Some(why) = unavailable() {
        bail!("no kernels under QEMU: {why}");
    }
    let machine = machine(kernel, &Programs::bench()?, args)?;
    let show = |line: &str| {
        // Standard output is for figures.
        eprintln!("{kernel:>6} | {line}");
        see(line);
    };
    let summary = machine.run(show, timeout)?;
    ensure!(summary.failed == 0, "of the measures in Linux {kernel}, {summary}");
    Ok(())
}

fn machine(kernel: Kernel, programs: &Programs, args: &[String]) -> Result<Machine> {
    packages::ensure(&PACKAGES)?;
    let dir = paths::target().join("vm").join(kernel.to_string());
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let image = kernel::fetch(kernel, &dir)?;
    eprintln!("vm: {}", image.version);
    let initramfs = dir.join("initramfs");
    initramfs::write(&initramfs, &image, programs, args)?;
    let disks = disks::make(&dir)?;
    Ok(Machine { kernel: image.vmlinuz, initramfs, disks, log: dir.join("console.log") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_on_x86_64_will_do() {
        assert_eq!(unavailable_on("debian 12", "x86_64"), None);
        for (system, arch) in [("debian 13", "x86_64"), ("fedora 42", "x86_64"), ("debian 12", "aarch64")] {
            let why = unavailable_on(system, arch).unwrap_or_default();
            assert!(why.contains(system) && why.contains(arch), "{why}");
        }
    }
}
