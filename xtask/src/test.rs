//! `cargo xtask test`: every test that this machine can run, summed up in the last line.

use std::{
    cmp::Reverse,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    cargo::cargo,
    command, packages,
    parallel::{self, Work},
    paths,
    stage::Stage,
    summary::Summary,
    vm::{self, Kernel, Programs},
};

/// What runs the kernel tests, natively.
pub(crate) const KERNEL_TESTS: [&str; 5] = ["test", "--quiet", "--workspace", "--test", "kernel"];

/// What the native kernel tests make filesystems and change files with.
const PACKAGES: [&str; 5] = ["e2fsprogs", "xfsprogs", "btrfs-progs", "acl", "attr"];

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave out the kernels under QEMU
    #[arg(long)]
    no_vm: bool,
    /// Seconds after which a kernel under QEMU is given up
    #[arg(long, default_value_t = vm::DEFAULT_TIMEOUT.as_secs())]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut stages = vec![Stage::run("unit", unit)];
    let mut works = if args.no_vm {
        println!("vm: left out (--no-vm)");
        Vec::new()
    } else {
        virtual_machines(vm::unavailable(), Duration::from_secs(args.timeout))
    };
    works.push(native());
    stages.extend(parallel::run(works));
    println!();
    for stage in &stages {
        println!("{}", stage.line(Summary::to_string));
    }
    let total = total(&stages);
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A stage that could not run counts as one failed test, so that the last line cannot look good.
fn total(stages: &[Stage<Summary>]) -> Summary {
    let mut total = Summary::default();
    for stage in stages {
        let could_not = Summary { failed: 1, ..Summary::default() };
        total += *stage.result.as_ref().unwrap_or(&could_not);
    }
    total
}

/// Unit and protocol tests, which need no privilege. The kernel tests are not among them: their target
/// says `test = false`.
fn unit() -> Result<Summary> {
    command::run(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    summed(with_program(cargo().args(["test", "--quiet", "--workspace", "--no-fail-fast"])))
}

/// The kernel tests on the running kernel. All is built now: what runs beside them needs the processors.
fn native() -> Work {
    let built = Stage::run("native build", native_tests);
    match built.result {
        Ok(Some(mut tests)) => Box::new(move || Stage::run("native", || summed(&mut tests))),
        Ok(None) => Box::new(|| Stage::run("native", native_skipped)),
        Err(error) => Box::new(move || Stage { name: built.name, result: Err(error), took: built.took }),
    }
}

/// What runs them; `None` without the privilege.
fn native_tests() -> Result<Option<Command>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    packages::ensure(&PACKAGES)?;
    let sabotaged = sabotaged()?;
    command::run(cargo().args(KERNEL_TESTS).arg("--no-run"))?;
    let mut tests = cargo();
    with_program(tests.args(KERNEL_TESTS)).env("UPCALL_SABOTAGED_BIN", sabotaged);
    Ok(Some(tests))
}

fn native_skipped() -> Result<Summary> {
    let list = command::output(cargo().args(KERNEL_TESTS).args(["--", "--list"]))?;
    let skipped = list.lines().filter(|line| line.ends_with(": test")).count();
    println!("native: {skipped} tests skipped: they load BPF programs, which needs root");
    Ok(Summary { skipped: skipped.try_into()?, ..Summary::default() })
}

/// Builds a daemon that can break promises: in a profile of its own, so that none is taken for the other.
fn sabotaged() -> Result<PathBuf> {
    const PROFILE: &str = "sabotage";
    let build = ["build", "--quiet", "--package", "upcall-user", "--bin", "upcall"];
    command::run(cargo().args(build).args(["--profile", PROFILE, "--features", PROFILE]))?;
    Ok(paths::target().join(PROFILE).join("upcall"))
}

/// Skipped, a kernel counting as one test, where they cannot run.
fn virtual_machines(unavailable: Option<String>, timeout: Duration) -> Vec<Work> {
    if let Some(why) = unavailable {
        let skip = |kernel| -> Work {
            let why = why.clone();
            Box::new(move || {
                Stage::run(format!("vm {kernel}"), || {
                    println!("vm: skipped: {why}");
                    Ok(Summary { skipped: 1, ..Summary::default() })
                })
            })
        };
        return Kernel::ALL.into_iter().map(skip).collect();
    }
    let built = Stage::run("vm build", Programs::build);
    let programs = match built.result {
        Ok(programs) => programs,
        Err(error) => {
            return vec![Box::new(move || Stage { name: built.name, result: Err(error), took: built.took })];
        }
    };
    println!(
        "vm: {DAEMON_ONLY}* run natively and on {WHOLE} only: what they test is the same on every kernel; the newest runs ext4 and tmpfs alone"
    );
    let mut kernels = Kernel::ALL.to_vec();
    // What takes longest first: the one that runs all, then the newest.
    kernels.sort_by_key(|&kernel| (kernel != WHOLE, Reverse(kernel)));
    vm::boots(kernels.into_iter().map(|kernel| (kernel, left_out(kernel))).collect(), &programs, timeout)
}

/// The kernel under QEMU that runs every test.
const WHOLE: Kernel = Kernel::V6_12;
/// Tests of the daemon whatever the kernel: most of the time under QEMU goes into starting daemons.
const DAEMON_ONLY: &str = "daemon::";

/// Filesystems that are left out of the newest kernel, a release candidate: it is there for what is new above them.
const OLD_ONLY: [&str; 3] = ["xfs::", "btrfs::", "overlayfs::"];

fn left_out(kernel: Kernel) -> Vec<String> {
    let left_out = match kernel {
        WHOLE => Vec::new(),
        Kernel::V7_3 => [DAEMON_ONLY].into_iter().chain(OLD_ONLY).collect(),
        _ => vec![DAEMON_ONLY],
    };
    left_out.into_iter().flat_map(|name| ["--skip".to_owned(), name.to_owned()]).collect()
}

/// Tells the tests where the program `upcall` is.
fn with_program(command: &mut Command) -> &mut Command {
    command.env("UPCALL_BIN", paths::target().join("debug/upcall"))
}

/// Runs test programs and adds up what they report.
fn summed(command: &mut Command) -> Result<Summary> {
    let mut sum = None;
    let status = command::tee(command, |line| {
        if let Some(summary) = Summary::from_result_line(line) {
            *sum.get_or_insert_default() += summary;
        }
    })?;
    let Some(sum): Option<Summary> = sum else {
        bail!("{} ended with {status} and no summary", command::shown(command));
    };
    if !status.success() && sum.failed == 0 {
        bail!("{} ended with {status} after {sum}", command::shown(command));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printing(text: &str, code: u8) -> Result<Summary> {
        summed(Command::new("sh").args(["-c", &format!("printf '%s' '{text}'; exit {code}")]))
    }

    #[test]
    fn the_summaries_of_all_programs_are_added() -> Result<()> {
        let line = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured";
        let sum = printing(&format!("{line}\nother\n{line}\n"), 0)?;
        assert_eq!(sum, Summary { passed: 4, failed: 0, skipped: 2 });
        Ok(())
    }

    #[test]
    fn a_run_that_fails_without_a_failed_test_is_an_error() {
        assert!(printing("test result: ok. 2 passed; 0 failed; 0 ignored\n", 101).is_err());
        assert!(printing("error: could not compile\n", 101).is_err());
        assert!(printing("", 0).is_err());
    }

    #[test]
    fn failed_tests_are_a_result() -> Result<()> {
        assert_eq!(printing("test result: FAILED. 2 passed; 1 failed; 0 ignored\n", 101)?.failed, 1);
        Ok(())
    }

    #[test]
    fn kernels_that_cannot_run_here_are_skipped() {
        let stages = parallel::run(virtual_machines(Some("this is a test".into()), Duration::ZERO));
        assert_eq!(total(&stages), Summary { passed: 0, failed: 0, skipped: Kernel::ALL.len() as u64 });
    }

    #[test]
    fn a_stage_that_could_not_run_counts_as_a_failure() {
        let good = Summary { passed: 3, failed: 0, skipped: 0 };
        let stages = [Stage::run("good", || Ok(good)), Stage::run("bad", || bail!("no QEMU"))];
        assert_eq!(total(&stages), Summary { passed: 3, failed: 1, skipped: 0 });
    }
}
