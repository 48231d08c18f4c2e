//! What the administrator wants: a TOML file, overridden by the command line, checked whole before anything
//! starts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use upcall_client::DEFAULT_SOCKET;

use crate::{access::ExportSpec, source::SourceChoice, state};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {message}")]
    Invalid { path: PathBuf, message: String },
    #[error(
        "no export: upcall is off until you enable a tree; name one with --export PATH, or with `exports = [\"PATH\"]` in the configuration file"
    )]
    NoExport,
    #[error("{key} must be {rule}, not {value}")]
    OutOfRange { key: &'static str, rule: &'static str, value: u64 },
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

/// Every option, as the file spells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Trees and files that may be watched, and what clients may hold there.
    pub exports: Vec<ExportSpec>,
    pub unix: PathBuf,
    /// Loopback only; none: no TCP.
    pub tcp: Option<SocketAddr>,
    /// Whom a peer over TCP counts as.
    pub tcp_user: String,
    pub source: SourceChoice,
    /// Directory of a BPF filesystem where maps and programs outlive the daemon; empty: they do not.
    pub pin: PathBuf,
    /// How long an inode goes on being watched for clients that are gone and may come back.
    pub grace_ms: u64,
    /// Inodes that can be watched at a time; 152 bytes each.
    pub slots: u32,
    /// Bytes; a power of two, at least a page. 16 for each dirty slot.
    pub dirty_ring_bytes: u32,
    pub event_ring_bytes: u32,
    pub clients: usize,
    pub interests_per_client: usize,
    pub hello_timeout_ms: u64,
    /// A client that takes no byte for so long is disconnected.
    pub stall_timeout_ms: u64,
    /// How long clients get to read what waits when the daemon ends.
    pub drain_ms: u64,
    /// How often a file is told of for as long as it is mapped writable; 0: never.
    pub volatile_ms: u64,
    /// What a holder has to return its lease.
    pub recall_ms: u64,
    /// How long what clients hold outlives their connection; and after a start, for how long there are only reclaims.
    pub state_grace_ms: u64,
    /// Between two upcalls to one owner of locks that somebody waits for them.
    pub contention_ms: u64,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as tracing-subscriber reads it.
    pub log: String,
    pub log_format: LogFormat,
}

/// Of the times of what is held: a local process waits in the kernel for that long.
const MOST_MS: u64 = 3_600_000;

pub const DEFAULT_PIN: &str = "/sys/fs/bpf/upcall";

/// The keys of [`Config`]: a test keeps them in step.
const KEYS: &[&str] = &[
    "exports",
    "unix",
    "tcp",
    "tcp_user",
    "source",
    "pin",
    "grace_ms",
    "slots",
    "dirty_ring_bytes",
    "event_ring_bytes",
    "clients",
    "interests_per_client",
    "hello_timeout_ms",
    "stall_timeout_ms",
    "drain_ms",
    "volatile_ms",
    "recall_ms",
    "state_grace_ms",
    "contention_ms",
    "log",
    "log_format",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            exports: Vec::new(),
            unix: DEFAULT_SOCKET.into(),
            tcp: None,
            tcp_user: "nobody".into(),
            source: SourceChoice::Auto,
            pin: DEFAULT_PIN.into(),
            grace_ms: 60_000,
            slots: 65_536,
            dirty_ring_bytes: 256 * 1024,
            event_ring_bytes: 4 * 1024 * 1024,
            clients: 4096,
            interests_per_client: 1_000_000,
            hello_timeout_ms: 10_000,
            stall_timeout_ms: 60_000,
            drain_ms: 2000,
            volatile_ms: 1000,
            recall_ms: 60_000,
            state_grace_ms: 15_000,
            contention_ms: 5000,
            log: "info".into(),
            log_format: LogFormat::Human,
        }
    }
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let nearest = KEYS.iter().min_by_key(|key| strsim::damerau_levenshtein(key, unknown));
            return Err(format!(
                "unknown key `{unknown}`; the nearest known one is `{}`",
                nearest.unwrap_or(&"exports")
            ));
        }
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.exports.is_empty() {
            return Err(ConfigError::NoExport);
        }
        let check = |key, value: u64, ok: bool, rule| {
            if ok { Ok(()) } else { Err(ConfigError::OutOfRange { key, rule, value }) }
        };
        check("slots", self.slots.into(), (1..=16_777_216).contains(&self.slots), "from 1 to 16777216")?;
        for (key, bytes) in
            [("dirty_ring_bytes", self.dirty_ring_bytes), ("event_ring_bytes", self.event_ring_bytes)]
        {
            let ok = bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes);
            check(key, bytes.into(), ok, "a power of two from 4096 to 1073741824")?;
        }
        check("clients", self.clients as u64, (1..=1 << 20).contains(&self.clients), "from 1 to 1048576")?;
        check(
            "interests_per_client",
            self.interests_per_client as u64,
            self.interests_per_client > 0,
            "at least 1",
        )?;
        for (key, ms) in
            [("hello_timeout_ms", self.hello_timeout_ms), ("stall_timeout_ms", self.stall_timeout_ms)]
        {
            check(key, ms, ms > 0, "at least 1")?;
        }
        for (key, ms) in [
            ("recall_ms", self.recall_ms),
            ("state_grace_ms", self.state_grace_ms),
            ("contention_ms", self.contention_ms),
        ] {
            check(key, ms, (1..=MOST_MS).contains(&ms), "from 1 to 3600000")?;
        }
        Ok(())
    }

    pub fn volatile(&self) -> Option<Duration> {
        (self.volatile_ms > 0).then(|| Duration::from_millis(self.volatile_ms))
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// How what is held is arbitrated.
    pub fn state(&self) -> state::Settings {
        state::Settings {
            recall: Duration::from_millis(self.recall_ms),
            extension: Duration::from_millis(self.recall_ms),
            grace: Duration::from_millis(self.state_grace_ms),
            contention: Duration::from_millis(self.contention_ms),
            ..state::Settings::default()
        }
    }

    /// `None`: nothing outlives the daemon.
    pub fn pin(&self) -> Option<&Path> {
        Some(self.pin.as_path()).filter(|pin| !pin.as_os_str().is_empty())
    }

    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = Config::parse("slotz = 5").expect_err("unknown");
        assert!(error.contains("`slotz`") && error.contains("`slots`"), "{error}");
    }

    /// The README's block names every key with its default; `tcp`, which has none, in a comment.
    #[test]
    fn the_readme_shows_the_defaults() {
        let readme = include_str!("../../README.md");
        let (_, block) = readme.split_once("```toml\n").expect("a block of TOML");
        let (block, _) = block.split_once("```").expect("its end");
        assert_eq!(Config::parse(block), Ok(Config::default()));
        let named = |key: &&str| {
            let assigned = format!("{key} =");
            block.lines().any(|line| line.trim_start_matches("# ").starts_with(&assigned))
        };
        let unnamed: Vec<_> = KEYS.iter().filter(|key| !named(key)).collect();
        assert!(unnamed.is_empty(), "README.md does not name {unnamed:?}");
        // What the comment shows is accepted too.
        let config = Config::parse(&block.replace("# tcp =", "tcp =")).expect("with TCP");
        assert!(config.tcp.is_some());
    }

    #[test]
    fn an_export_is_a_path_or_says_what_may_be_held_there() {
        let exports = |list: &str| Config::parse(&format!("exports = [{list}]")).map(|config| config.exports);
        let [plain, table] =
            &exports(r#""/a", { path = "/b", leases = true, locks = true }"#).expect("both")[..]
        else {
            panic!("two exports")
        };
        assert_eq!(*plain, ExportSpec::from(PathBuf::from("/a")));
        let switches = state::Switches { leases: true, shares: false, locks: true };
        assert_eq!(*table, ExportSpec { path: "/b".into(), switches });
        for wrong in ["7", "{ leases = true }", r#"{ path = "/a", lease = true }"#] {
            let error = exports(wrong).expect_err(wrong);
            assert!(error.contains("`leases`, `shares` and `locks`"), "{error}");
        }
    }

    #[test]
    fn every_key_is_accepted_and_known() {
        let text = r#"
            exports = ["/srv"]
            unix = "/run/x.sock"
            tcp = "127.0.0.1:1"
            tcp_user = "nobody"
            source = "fexit"
            pin = "/sys/fs/bpf/x"
            grace_ms = 1
            slots = 5
            dirty_ring_bytes = 4096
            event_ring_bytes = 4096
            clients = 1
            interests_per_client = 1
            hello_timeout_ms = 1
            stall_timeout_ms = 1
            drain_ms = 1
            volatile_ms = 1
            recall_ms = 1
            state_grace_ms = 1
            contention_ms = 1
            log = "debug"
            log_format = "json"
        "#;
        let config = Config::parse(text).expect("all keys");
        config.validate().expect("valid");
        assert_eq!(text.matches(" = ").count(), KEYS.len());
        assert_eq!(
            (config.slots, config.source, config.log_format),
            (5, SourceChoice::Fexit, LogFormat::Json)
        );
    }

    #[test]
    fn nonsense_is_refused_before_anything_starts() {
        assert!(matches!(Config::default().validate(), Err(ConfigError::NoExport)));
        let exports = vec![PathBuf::from("/srv").into()];
        for broken in [
            Config { slots: 0, ..Config::default() },
            Config { dirty_ring_bytes: 5000, ..Config::default() },
            Config { clients: 0, ..Config::default() },
            Config { clients: 1 << 21, ..Config::default() },
            Config { recall_ms: 0, ..Config::default() },
            Config { state_grace_ms: 1 << 32, ..Config::default() },
        ] {
            assert!(matches!(
                Config { exports: exports.clone(), ..broken }.validate(),
                Err(ConfigError::OutOfRange { .. })
            ));
        }
    }
}
