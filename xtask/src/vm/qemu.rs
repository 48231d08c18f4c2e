//! The machine: software emulation, so that it runs anywhere, with the serial line as its only output.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{disks::Disk, verdict::Verdict};
use crate::{command, summary::Summary};

/// `bpf` among the security modules; a panic ends the machine at once instead of hanging it.
const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 oops=panic lsm=landlock,lockdown,yama,bpf quiet loglevel=4 rdinit=/init";

/// A longer line is shown in pieces.
const LINE: u64 = 64 << 10;

/// A machine to boot.
pub(super) struct Machine {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) disks: Vec<Disk>,
    /// Where the console is kept.
    pub(super) log: PathBuf,
}

impl Machine {
    /// Boots, shows each line of the console to `show`, and judges; past `timeout` the machine is
    /// killed.
    pub(super) fn run(&self, mut show: impl FnMut(&str), timeout: Duration) -> Result<Summary> {
        let mut log =
            File::create(&self.log).with_context(|| format!("cannot make {}", self.log.display()))?;
        let mut command = self.command();
        let mut child =
            command.spawn().with_context(|| format!("cannot run {}", command::shown(&command)))?;
        let mut verdict = Verdict::default();
        let watched = watch(&mut child, timeout, |line| {
            verdict.see(line);
            show(line.trim_end());
            writeln!(log, "{line}").context("cannot keep the console")
        });
        if watched.is_err() {
            child.kill().context("cannot kill QEMU")?;
        }
        let status = child.wait().context("cannot wait for QEMU")?;
        watched?;
        verdict.judge(status.code())
    }

    fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
            // One thread for both processors: with two, the emulator may run code of which the kernel has just patched
            // the first byte (attaching trampolines to 7.3 panicked with `int3`). Machines run side by side instead.
            .args([
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1536",
            ])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .args(["-append", COMMAND_LINE])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs);
        for disk in &self.disks {
            let (name, image) = (disk.name, disk.image.display().to_string().replace(',', ",,"));
            // The images are made anew for each run: nothing on them must survive a crash of the host.
            qemu.arg("-drive").arg(format!("if=none,id={name},format=raw,cache=unsafe,file={image}"));
            qemu.arg("-device").arg(format!("virtio-blk-pci,drive={name},serial={name}"));
        }
        qemu
    }
}

/// Shows each line of the console to `see` until it closes or the time is up.
fn watch(child: &mut Child, timeout: Duration, mut see: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let console = child.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::sync_channel(64);
    thread::spawn(move || read_lines(console, &sender));
    loop {
        match next(&lines, deadline) {
            Ok(line) => see(&line)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine did not end within {} s: killed", timeout.as_secs());
            }
        }
    }
}

fn next(lines: &Receiver<String>, deadline: Instant) -> Result<String, RecvTimeoutError> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A machine that never stops talking must not outlive its time either.
    if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { lines.recv_timeout(left) }
}

fn read_lines(console: impl Read, sender: &SyncSender<String>) {
    let mut console = BufReader::new(console);
    loop {
        let mut line = Vec::new();
        let Ok(1..) = console.by_ref().take(LINE).read_until(b'\n', &mut line) else { return };
        // Nobody receives any more when the machine has been given up.
        if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
    }
}
