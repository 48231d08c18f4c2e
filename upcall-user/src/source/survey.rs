//! What this kernel allows: for `upcall doctor`. Nothing is guessed: every program is really loaded, and attached and
//! detached again where nobody misses a change by it.

use serde::Serialize;

use upcall_common::paths::{self, Group, MutationPath};

use super::{
    Source,
    error::{self, Lost},
    load::{self, Sizes},
    pins,
    types::VMLINUX,
};
use crate::config::DEFAULT_PIN;

/// A mutation path and whether the source that would run sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    pub path: &'static str,
    /// What changes.
    pub group: &'static str,
    pub covered: bool,
    pub source: Option<&'static str>,
    /// The hook that sees it.
    pub hook: Option<&'static str>,
    /// Why it is not covered.
    pub why: Option<String>,
    /// Filesystems where it is not, although it is elsewhere.
    pub except: Vec<Exception>,
}

/// A filesystem on which a path is not covered.
#[derive(Clone, Debug, Serialize)]
pub struct Exception {
    pub filesystem: &'static str,
    pub why: &'static str,
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
    /// Whether the default `pin` is on a BPF filesystem, so that maps and programs can outlive the daemon.
    pub can_pin: bool,
    /// Capabilities that the daemon needs and this process lacks.
    pub missing_capabilities: Vec<&'static str>,
    /// The source that `--source auto` would run.
    pub source: Option<Source>,
    pub paths: Vec<Coverage>,
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
    Survey {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        btf: std::path::Path::new(VMLINUX).exists(),
        trampolines: fexit.is_ok(),
        timestamp_tracepoints: timestamp.is_ok(),
        bpf_lsm: bpf_lsm_is_active(),
        lsm: read(LSM),
        lockdown: read("/sys/kernel/security/lockdown"),
        can_pin: pins::is_possible(std::path::Path::new(DEFAULT_PIN)),
        missing_capabilities: missing_capabilities(false),
        paths: paths::all().map(|(group, path)| judge(group, path, source, lost)).collect(),
        source,
        trampolines_why: fexit.err(),
        timestamp_why: timestamp.err(),
    }
}

/// Tries a source and says what is lost of it.
fn attempt(source: Source) -> Result<Vec<Lost>, String> {
    load::rehearse(source, SIZES).map_err(error::why)
}

fn judge(group: Group, path: &MutationPath, source: Option<Source>, lost: &[Lost]) -> Coverage {
    let seen = match source {
        None => Err("no source works on this kernel".to_owned()),
        Some(source) => see(path, source, lost),
    };
    let exceptions = source.filter(|_| seen.is_ok()).into_iter().flat_map(|source| path.gaps(source.into()));
    let except = exceptions
        .flat_map(|gap| gap.on.iter().map(|filesystem| Exception { filesystem, why: gap.why }))
        .collect();
    let (hook, why) = match seen {
        Ok(hook) => (Some(hook), None),
        Err(why) => (None, Some(why)),
    };
    Coverage {
        path: path.name,
        group: group.name(),
        covered: hook.is_some(),
        source: source.map(Source::name),
        hook,
        why,
        except,
    }
}

/// The hook that sees a path, or why none does.
fn see(path: &MutationPath, source: Source, lost: &[Lost]) -> Result<&'static str, String> {
    if let Some(gap) = path.missed_by(source.into()) {
        return Err(gap.why.to_owned());
    }
    if source == Source::Timestamp {
        return Ok("ctime tracepoints");
    }
    let lost_hook = |hook| lost.iter().find(|lost| lost.program.hook == hook);
    match path.fexit.iter().find(|hook| lost_hook(**hook).is_none()) {
        Some(hook) => Ok(hook.name()),
        None => {
            let why = path.fexit.first().and_then(|hook| lost_hook(*hook));
            Err(why.map_or("no kernel function sees it".to_owned(), |lost| lost.why.clone()))
        }
    }
}

/// Names of the security modules at work.
const LSM: &str = "/sys/kernel/security/lsm";

/// Whether programs on LSM hooks are asked: without it they attach, and nothing comes of it.
pub(super) fn bpf_lsm_is_active() -> bool {
    read(LSM).is_some_and(|names| names.split(',').any(|name| name == "bpf"))
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

/// What leases of files need that are not the daemon's own.
const FOR_LEASES: (u32, &str) = (28, "CAP_LEASE");

/// Capabilities that the daemon needs and this process lacks.
pub fn missing_capabilities(leases: bool) -> Vec<&'static str> {
    let effective = read("/proc/self/status")
        .and_then(|status| status.lines().find_map(|line| line.strip_prefix("CapEff:").map(str::to_owned)))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let needed = NEEDED.iter().chain(leases.then_some(&FOR_LEASES));
    needed.filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use upcall_common::paths::Table;

    use super::*;

    #[test]
    fn readme_has_the_table() {
        let readme = include_str!("../../../README.md");
        let table = readme.split_once(Table::BEGIN).and_then(|(_, rest)| rest.split_once(Table::END));
        let (table, _) = table.expect("README.md has the lines that the table is between");
        assert_eq!(table.trim_start(), Table.to_string(), "`cargo xtask table` writes it");
    }

    #[test]
    fn a_path_is_covered_exactly_where_the_table_has_no_gap() {
        for source in [Source::Fexit, Source::Timestamp] {
            for (group, path) in paths::all() {
                let judged = judge(group, path, Some(source), &[]);
                assert_eq!(judged.covered, path.missed_by(source.into()).is_none(), "{}", path.name);
                assert_eq!(judged.covered, judged.why.is_none(), "{}", path.name);
                for filesystem in ["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"] {
                    let excepted = judged.except.iter().any(|except| except.filesystem == filesystem);
                    let missed = path.missed_on(source.into(), filesystem).is_some();
                    assert_eq!(judged.covered && !excepted, !missed, "{} on {filesystem}", path.name);
                }
            }
        }
    }

    #[test]
    fn a_path_whose_hooks_are_lost_is_not_covered() {
        for (group, path) in paths::all().filter(|(_, path)| !path.fexit.is_empty()) {
            let lost: Vec<_> = super::super::FEXIT
                .iter()
                .map(|program| Lost { program, why: "refused".to_owned() })
                .collect();
            let judged = judge(group, path, Some(Source::Fexit), &lost);
            assert_eq!((judged.covered, judged.why.as_deref()), (false, Some("refused")), "{}", path.name);
        }
    }
}
