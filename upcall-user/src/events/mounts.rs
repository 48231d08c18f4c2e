//! Where filesystems are mounted: a path inside a filesystem becomes one that a person knows.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The mount table of this process, by the kernel's device number.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    by_device: HashMap<u32, Vec<Mount>>,
    read: Option<Instant>,
}

/// Devices that are mounted nowhere here must not have the table read for each of their events.
const STALE: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The directory of the filesystem that is mounted.
    root: String,
    point: String,
}

impl Mounts {
    /// The path in this mount namespace of `inner`, a path from the root of the filesystem on `device`.
    pub(super) fn locate(&mut self, device: u32, inner: &str) -> Option<String> {
        if !self.by_device.contains_key(&device) && self.read.is_none_or(|read| read.elapsed() >= STALE) {
            self.read = Some(Instant::now());
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            self.by_device = parse(&table);
        }
        let mounts = self.by_device.get(&device)?;
        mounts.iter().rev().find_map(|mount| {
            let rest = inner.strip_prefix(mount.root.trim_end_matches('/'))?;
            let inside = rest.is_empty() || rest.starts_with('/');
            inside.then(|| match format!("{}{rest}", mount.point.trim_end_matches('/')) {
                path if path.is_empty() => "/".to_owned(),
                path => path,
            })
        })
    }
}

fn parse(table: &str) -> HashMap<u32, Vec<Mount>> {
    let mut by_device: HashMap<u32, Vec<Mount>> = HashMap::new();
    for line in table.lines() {
        let mut fields = line.split(' ').skip(2);
        let (Some(device), Some(root), Some(point)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some((major, minor)) = device.split_once(':') else { continue };
        if let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) {
            let mount = Mount { root: unescape(root), point: unescape(point) };
            by_device.entry(major << 20 | minor).or_default().push(mount);
        }
    }
    by_device
}

/// Spaces, tabs, line ends and backslashes are written in octal.
fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_through_the_mount_that_shows_them() {
        let table = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 /sub /mnt/a\\040b rw - ext4 b rw\n";
        let mut mounts = Mounts { by_device: parse(table), read: None };
        assert_eq!(mounts.locate(8 << 20 | 1, "/etc/x").as_deref(), Some("/etc/x"));
        assert_eq!(mounts.locate(8 << 20 | 1, "/").as_deref(), Some("/"));
        assert_eq!(mounts.locate(8 << 20 | 2, "/sub/f").as_deref(), Some("/mnt/a b/f"));
        assert_eq!(mounts.locate(8 << 20 | 2, "/subway/f"), None);
    }
}
