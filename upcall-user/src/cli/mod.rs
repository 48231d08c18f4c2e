//! The command line.

mod debug;
mod detach;
mod doctor;
mod state;
mod status;
mod watch;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{
    Args, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
};
use upcall_client::{Address, Client, Options, Upcalls};

use crate::{access::ExportSpec, config::Config, daemon, source::SourceChoice, state::Switches};

/// Tells clients of changes to files on this host.
#[derive(Debug, Parser)]
#[command(name = "upcall", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch for changes and tell clients (needs root)
    Daemon(DaemonArgs),
    /// Print upcalls for files or directories
    Watch(watch::WatchArgs),
    /// Print every change as it happens (needs root)
    Debug(debug::DebugArgs),
    /// Hold a byte-range lock of a file, while a command runs
    Lock(state::LockArgs),
    /// Hold a file open and deny others to open it, while a command runs
    Share(state::ShareArgs),
    /// Print the daemon's state (needs root)
    Status(status::StatusArgs),
    /// Remove what a daemon has left in the kernel (needs root)
    Detach(detach::DetachArgs),
    /// Say what this kernel allows, and which changes would be seen (needs root)
    Doctor(doctor::DoctorArgs),
}

#[derive(Debug, Args)]
struct DaemonArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tree or file that clients may watch; may be repeated. Replaces the file's list
    #[arg(long = "export", value_name = "PATH")]
    exports: Vec<PathBuf>,
    /// Clients may hold leases in each `--export`
    #[arg(long, requires = "exports")]
    leases: bool,
    /// Clients may hold share reservations in each `--export`
    #[arg(long, requires = "exports")]
    shares: bool,
    /// Clients may hold byte-range locks in each `--export`
    #[arg(long, requires = "exports")]
    locks: bool,
    /// Unix socket to listen on
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// TCP address to listen on, loopback only
    #[arg(long, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// How changes are seen
    #[arg(long, value_enum)]
    source: Option<SourceChoice>,
    /// Directory of a BPF filesystem where maps and programs outlive the daemon; empty: they do not
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pin: Option<PathBuf>,
}

impl DaemonArgs {
    fn resolve(self) -> Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if !self.exports.is_empty() {
            let switches = Switches { leases: self.leases, shares: self.shares, locks: self.locks };
            config.exports = self.exports.into_iter().map(|path| ExportSpec { path, switches }).collect();
        }
        config.unix = self.unix.unwrap_or(config.unix);
        config.tcp = self.tcp.or(config.tcp);
        config.source = self.source.unwrap_or(config.source);
        config.pin = self.pin.unwrap_or(config.pin);
        Ok(config)
    }
}

/// How to reach the daemon.
#[derive(Debug, Args)]
struct ConnectArgs {
    /// Daemon's address: unix:PATH or tcp:HOST:PORT
    #[arg(long, value_name = "ADDR", default_value_t)]
    connect: Address,
}

impl ConnectArgs {
    async fn client(&self, name: &str, reconnect: bool) -> Result<(Client, Upcalls)> {
        let options = Options { name: name.into(), reconnect, ..Options::default() };
        Client::connect(&self.connect, options).await.context("no connection to the daemon")
    }
}

pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Daemon(args) => daemon::run(&args.resolve()?).map(|()| ExitCode::SUCCESS),
        Command::Detach(args) => detach::run(args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
        Command::Watch(args) => block_on(watch::run(args)),
        Command::Debug(args) => block_on(async { debug::run(args).await.map(|()| ExitCode::SUCCESS) }),
        Command::Lock(args) => block_on(state::lock(args)),
        Command::Share(args) => block_on(state::share(args)),
        Command::Status(args) => block_on(async { status::run(args).await.map(|()| ExitCode::SUCCESS) }),
    }
}

/// The daemon knows nothing of this process's working directory. The last component is not resolved: the
/// daemon does that as this user.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}

fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_held_is_said_of_the_exports_beside_it() -> Result<()> {
        let cli = Cli::try_parse_from(["upcall", "daemon", "--export", "/a", "--export", "/b", "--locks"])?;
        let Command::Daemon(args) = cli.command else { panic!("another command") };
        let switches = Switches { locks: true, ..Switches::default() };
        let exports = ["/a", "/b"].map(|path| ExportSpec { path: path.into(), switches });
        assert_eq!(args.resolve()?.exports, exports);
        assert!(Cli::try_parse_from(["upcall", "daemon", "--locks"]).is_err(), "of no export");
        Ok(())
    }

    #[test]
    fn an_empty_pin_says_that_nothing_is_pinned() -> Result<()> {
        let cli = Cli::try_parse_from(["upcall", "daemon", "--pin", ""])?;
        let Command::Daemon(args) = cli.command else { panic!("another command") };
        assert_eq!(args.resolve()?.pin(), None);
        Ok(())
    }
}
