//! Where figures come from.

use std::fs;

use anyhow::{Context, Result};

use crate::vm::Kernel;

/// How figures were made.
#[derive(Debug)]
pub(super) struct About {
    /// Machine, kernel and date.
    pub(super) machine: String,
    pub(super) command: String,
}

pub(super) fn about(kernel: Option<Kernel>, command: String) -> Result<About> {
    let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the release")?;
    let host = format!("{}, {}, Linux {}", processors(&cpus), gibibytes(&memory), release.trim());
    let guest =
        kernel.map_or_else(String::new, |kernel| format!("Debian's Linux {kernel} under QEMU (TCG) on "));
    let machine = format!("{guest}{host}, {}", crate::command::output(&mut today())?.trim());
    Ok(About { machine, command })
}

fn today() -> std::process::Command {
    let mut date = std::process::Command::new("date");
    date.args(["-u", "+%Y-%m-%d"]);
    date
}

fn processors(cpuinfo: &str) -> String {
    let values = |key: &str| -> Vec<String> {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned()).collect()
    };
    let models = values("model name");
    format!("{} × {}", values("processor").len(), models.first().map_or("unknown processor", String::as_str))
}

fn gibibytes(meminfo: &str) -> String {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or_else(|| "unknown memory".to_owned(), |kib| format!("{} GiB", kib >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_and_memory_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast 1\n\nprocessor\t: 1\nmodel name\t: Fast 1\n";
        assert_eq!(processors(cpuinfo), "2 × Fast 1");
        assert_eq!(gibibytes("MemFree: 1 kB\nMemTotal:       25165824 kB\n"), "24 GiB");
    }
}
