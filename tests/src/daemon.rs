//! The daemon, as a process of its own.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use upcall_client::Address;

use crate::{deadline::wait_for, fdinfo, program, sys::bpf};

/// What is run as the daemon.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// The promise that it is to break, where it was built to break some.
    pub sabotage: Option<String>,
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    program: Program,
    child: Child,
    /// Where it pins. Before the directory that it is mounted in.
    bpf: Option<BpfMount>,
    dir: TempDir,
    port: u16,
}

impl Daemon {
    /// Starts one that exports `exports` and leaves nothing in the kernel; `settings` are further lines of its
    /// configuration.
    pub fn start(exports: &[&Path], settings: &str) -> Result<Self> {
        Self::start_program(Program { path: program::upcall()?, sabotage: None }, exports, settings, false)
    }

    /// Starts one where clients may hold what is said of each export, such as `leases`.
    pub fn start_holding(exports: &[(&Path, &[&str])], settings: &str) -> Result<Self> {
        Self::start_program_holding(Program { path: program::upcall()?, sabotage: None }, exports, settings)
    }

    pub fn start_program_holding(
        program: Program,
        exports: &[(&Path, &[&str])],
        settings: &str,
    ) -> Result<Self> {
        let export = |(path, held): &(&Path, &[&str])| {
            let on: String = held.iter().map(|what| format!(", {what} = true")).collect();
            format!("{{ path = {path:?}{on} }}")
        };
        let list: Vec<String> = exports.iter().map(export).collect();
        Self::start_with(program, &list.join(", "), settings, false)
    }

    /// Starts one that pins maps and programs, in a BPF filesystem of its own.
    pub fn start_pinned(exports: &[&Path], settings: &str) -> Result<Self> {
        Self::start_program(Program { path: program::upcall()?, sabotage: None }, exports, settings, true)
    }

    pub fn start_program(program: Program, exports: &[&Path], settings: &str, pinned: bool) -> Result<Self> {
        let list: Vec<String> = exports.iter().map(|path| format!("{path:?}")).collect();
        Self::start_with(program, &list.join(", "), settings, pinned)
    }

    fn start_with(program: Program, exports: &str, settings: &str, pinned: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("upcall-daemon-").tempdir()?;
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let port = free_port()?;
        let unix = dir.path().join("socket");
        let bpf = pinned.then(|| BpfMount::new(&dir.path().join("bpf"))).transpose()?;
        let pin = bpf.as_ref().map(BpfMount::pin).unwrap_or_default();
        let config = format!(
            "exports = [{exports}]\npin = {pin:?}\nunix = {unix:?}\ntcp = \"127.0.0.1:{port}\"\ntcp_user = \"nobody\"\n{settings}\n"
        );
        fs::write(dir.path().join("config.toml"), config)?;
        let child = spawn(&program, dir.path())?;
        let mut daemon = Self { program, child, bpf, dir, port };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Kills it and starts it anew, with the same configuration.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.resume()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and starts another copy of its program, with the same configuration.
    pub fn upgrade(&mut self) -> Result<()> {
        let copy = self.dir.path().join("upcall");
        // Under a name that no running program has.
        let new = self.dir.path().join("upcall.new");
        fs::copy(&self.program.path, &new)?;
        fs::rename(new, &copy)?;
        self.program.path = copy;
        self.signal(Signal::SIGTERM)?;
        self.ended()?;
        self.resume()
    }

    /// Starts it anew after its end, with the same configuration.
    pub fn resume(&mut self) -> Result<()> {
        self.child = spawn(&self.program, self.dir.path())?;
        self.wait_until_ready()
    }

    /// Sets one value of its configuration, for its next start.
    pub fn configure(&self, key: &str, value: &str) -> Result<()> {
        let config = fs::read_to_string(self.config())?;
        let is_other = |line: &&str| line.split_once(" = ").is_none_or(|(of, _)| of != key);
        let others: Vec<_> = config.lines().filter(is_other).collect();
        Ok(fs::write(self.config(), format!("{}\n{key} = {value}\n", others.join("\n")))?)
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// Where it pins.
    pub fn pin(&self) -> Result<PathBuf> {
        self.bpf.as_ref().map(BpfMount::pin).context("it does not pin")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let (socket, port) = (self.dir.path().join("socket"), self.port);
        let ready = wait_for("the daemon to listen", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}");
            }
            let open =
                UnixStream::connect(&socket).is_ok() && TcpStream::connect(("127.0.0.1", port)).is_ok();
            Ok(open.then_some(()))
        });
        ready.with_context(|| format!("the daemon's log:\n{}", self.log()))
    }

    pub fn unix(&self) -> Address {
        Address::Unix(self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub fn tcp(&self) -> Address {
        Address::Tcp { host: "127.0.0.1".into(), port: self.port }
    }

    /// What `upcall status` says.
    pub fn status(&self) -> Result<Value> {
        let connect = self.unix().to_string();
        let mut lines = program::json_lines(["status", "--json", "--connect", &connect])?;
        lines.pop().context("`upcall status` printed nothing")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs of its BPF programs that the kernel has skipped: what they would have seen is not shown.
    pub fn skipped(&self) -> Result<u64> {
        let mut skipped = 0;
        for info in fdinfo::of(self.pid())? {
            let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
            skipped += count.map_or(Ok(0), |count| count.trim().parse::<u64>())?;
        }
        Ok(skipped)
    }

    /// The ids of its BPF programs.
    fn programs(&self) -> Result<BTreeSet<u32>> {
        let mut programs = BTreeSet::new();
        for info in fdinfo::of(self.pid())? {
            let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
            programs.extend(id.map(|id| id.trim().parse::<u32>()).transpose()?);
        }
        Ok(programs)
    }

    /// Bytes of memory that it has to itself.
    pub fn private_memory(&self) -> Result<u64> {
        self.status_bytes("RssAnon:")
    }

    /// Bytes of addresses that it uses.
    pub fn address_space(&self) -> Result<u64> {
        self.status_bytes("VmSize:")
    }

    fn status_bytes(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        let value = value.with_context(|| format!("its status has no {key}"))?.trim();
        let kib: u64 = value.strip_suffix(" kB").context("the value is in no kB")?.parse()?;
        Ok(kib * 1024)
    }

    /// That it still runs.
    pub fn lives(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the daemon ended with {status}; its log:\n{}", self.log()),
            None => Ok(()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        wait_for("the daemon to end", || Ok(self.child.try_wait()?))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell of anything else.
        let programs = self.programs().unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.bpf = None;
        // Other daemons resync their clients as its programs go, by and by: the next test's must not.
        let gone = || Ok((!bpf::any_loaded(&programs)?).then_some(()));
        if let Err(error) = wait_for("its BPF programs to go", gone) {
            eprintln!("{error}");
        }
        if std::thread::panicking() || std::env::var_os("UPCALL_TEST_LOG").is_some() {
            eprintln!("{}", self.log());
        }
    }
}

/// A BPF filesystem; unmounted when dropped, and what is pinned there goes with it.
#[derive(Debug)]
struct BpfMount(PathBuf);

impl BpfMount {
    fn new(dir: &Path) -> Result<Self> {
        fs::create_dir(dir)?;
        mount(Some("bpf"), dir, Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a BPF filesystem")?;
        Ok(Self(dir.to_owned()))
    }

    fn pin(&self) -> PathBuf {
        self.0.join("upcall")
    }
}

impl Drop for BpfMount {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

fn spawn(program: &Program, dir: &Path) -> Result<Child> {
    let log = fs::File::options().append(true).create(true).open(dir.join("log"))?;
    let mut command = Command::new(&program.path);
    if let Some(sabotage) = &program.sabotage {
        command.env("UPCALL_SABOTAGE", sabotage);
    }
    command
        .arg("daemon")
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot start the daemon")
}

/// A port that nobody listens at now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
