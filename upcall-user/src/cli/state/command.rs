//! The command that runs while something is held.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// What to wait for while something is held: the end of a command, or of our user's patience.
pub(super) struct Term {
    child: Option<Child>,
    interrupts: Signals,
    terminations: Signals,
}

impl Term {
    /// From here on a signal ends us only after we have given up what we hold, or what we hold for a command after that.
    pub(super) fn begin() -> Result<Self> {
        let (interrupts, terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { child: None, interrupts, terminations })
    }

    pub(super) fn run(&mut self, command: &[OsString]) -> Result<()> {
        if let Some((program, arguments)) = command.split_first() {
            let spawned = Command::new(program).args(arguments).kill_on_drop(true).spawn();
            self.child = Some(spawned.with_context(|| format!("cannot run {}", program.display()))?);
        }
        Ok(())
    }

    /// Until we are asked to end; the code is a shell's of that signal. Dropping the future loses nothing.
    pub(super) async fn asked(&mut self) -> ExitCode {
        let asked = tokio::select! {
            _ = self.interrupts.recv() => Signal::SIGINT,
            _ = self.terminations.recv() => Signal::SIGTERM,
        };
        u8::try_from(128 + asked as i32).map_or(ExitCode::FAILURE, ExitCode::from)
    }

    /// Until the command has ended; without one, until we are asked to end. Dropping the future loses nothing.
    pub(super) async fn end(&mut self) -> Result<ExitCode> {
        let Some(child) = &mut self.child else {
            self.asked().await;
            return Ok(ExitCode::SUCCESS);
        };
        loop {
            tokio::select! {
                status = child.wait() => return Ok(code(status?)),
                // The terminal has told the command too.
                _ = self.interrupts.recv() => {}
                _ = self.terminations.recv() => forward(child),
            }
        }
    }
}

fn forward(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// As a shell has it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
