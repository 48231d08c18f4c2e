//! What this kernel allows: for `upcall doctor`. Nothing is guessed: every program is really loaded and
//! attached, and detached again.

use serde::Serialize;

use super::{
    Source,
    btf::VMLINUX,
    load::{self, Lost, Sizes},
    paths::{MutationPath, PATHS},
};

/// A mutation path and whether the source that would run sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    pub path: &'static str,
    pub covered: bool,
    pub source: Option<&'static str>,
    /// The hook that sees it.
    pub hook: Option<&'static str>,
    /// Why it is not covered.
    pub why: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    pub kernel: String,
    pub btf: bool,
    /// Whether fexit trampolines attach; if not, why.
    pub trampolines: bool,
    pub trampolines_why: Option<String>,
    /// Whether the timestamp tracepoints attach; if not, why.
    pub timestamp_tracepoints: bool,
    pub timestamp_why: Option<String>,
    /// Active Linux security modules, if the kernel tells.
    pub lsm: Option<String>,
    /// Whether `bpf` is among them (for deny modes).
    pub bpf_lsm: bool,
    pub lockdown: Option<String>,
    /// Capabilities that the daemon needs and this process lacks.
    pub missing_capabilities: Vec<&'static str>,
    /// The source that `--source auto` would run.
    pub source: Option<Source>,
    pub paths: Vec<Path>,
}

/// Smallest maps that load.
const SIZES: Sizes = Sizes { slots: 64, dirty_ring_bytes: 4096, event_ring_bytes: 4096 };

pub fn survey() -> Survey {
    let fexit = attempt(Source::Fexit);
    let timestamp = attempt(Source::Timestamp);
    let source = match (&fexit, &timestamp) {
        (Ok(_), _) => Some(Source::Fexit),
        (_, Ok(_)) => Some(Source::Timestamp),
        _ => None,
    };
    let lost = fexit.as_deref().unwrap_or_default();
    let lsm = read("/sys/kernel/security/lsm");
    Survey {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        btf: std::path::Path::new(VMLINUX).exists(),
        trampolines: fexit.is_ok(),
        timestamp_tracepoints: timestamp.is_ok(),
        bpf_lsm: lsm.as_deref().is_some_and(|names| names.split(',').any(|name| name == "bpf")),
        lsm,
        lockdown: read("/sys/kernel/security/lockdown"),
        missing_capabilities: missing_capabilities(),
        paths: PATHS.iter().map(|path| judge(path, source, lost)).collect(),
        source,
        trampolines_why: fexit.err(),
        timestamp_why: timestamp.err(),
    }
}

/// Loads and attaches a source, detaches it and says what was lost on the way.
fn attempt(source: Source) -> Result<Vec<Lost>, String> {
    let choice = match source {
        Source::Fexit => super::SourceChoice::Fexit,
        Source::Timestamp => super::SourceChoice::Timestamp,
    };
    match load::load(choice, SIZES, 0) {
        Ok(loaded) => Ok(loaded.lost),
        Err(load::LoadError::Source { why, .. }) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

fn judge(path: &MutationPath, source: Option<Source>, lost: &[Lost]) -> Path {
    let (hook, why) = match source {
        None => (None, Some("no source works on this kernel".to_owned())),
        Some(Source::Timestamp) => match path.timestamp_gap {
            None => (Some("ctime tracepoints"), None),
            Some(gap) => (None, Some(gap.to_owned())),
        },
        Some(Source::Fexit) => {
            let lost_hook = |hook| lost.iter().find(|lost| lost.program.hook == hook);
            match path.fexit.iter().find(|hook| lost_hook(**hook).is_none()) {
                Some(hook) => (Some(hook.name()), None),
                None => {
                    let why = path.fexit.first().and_then(|hook| lost_hook(*hook));
                    (None, Some(why.map_or("no kernel function sees it".to_owned(), |lost| lost.why.clone())))
                }
            }
        }
    };
    Path { path: path.name, covered: hook.is_some(), source: source.map(Source::name), hook, why }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Bits of `CapEff` in /proc/self/status.
const NEEDED: &[(u32, &str)] = &[
    (2, "CAP_DAC_READ_SEARCH"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (21, "CAP_SYS_ADMIN"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// Capabilities that the daemon needs and this process lacks.
pub fn missing_capabilities() -> Vec<&'static str> {
    let effective = read("/proc/self/status")
        .and_then(|status| status.lines().find_map(|line| line.strip_prefix("CapEff:").map(str::to_owned)))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    NEEDED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}
