//! /proc/self/mountinfo, read.

use std::{collections::HashMap, io};

/// Mounts by the kernel's device number: the superblock's, major << 20 | minor.
#[derive(Debug, Default)]
pub struct Table(HashMap<u32, Vec<Mount>>);

#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    /// The directory of the filesystem that is mounted.
    pub root: String,
    pub point: String,
}

impl Table {
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo")?)))
    }

    /// Lines that cannot be understood are left out. Each begins: id, parent, device, root, mount point.
    pub fn parse(text: &str) -> Self {
        let mut by_device: HashMap<u32, Vec<Mount>> = HashMap::new();
        for (device, mount) in text.lines().filter_map(parse_line) {
            by_device.entry(device).or_default().push(mount);
        }
        Self(by_device)
    }

    /// The filesystem is mounted somewhere.
    pub fn has(&self, device: u32) -> bool {
        self.0.contains_key(&device)
    }

    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.0.values().flatten()
    }

    /// The path in this mount namespace of `inner`, a path from the root of the filesystem on `device`.
    pub fn locate(&self, device: u32, inner: &str) -> Option<String> {
        self.0.get(&device)?.iter().rev().find_map(|mount| {
            let rest = inner.strip_prefix(mount.root.trim_end_matches('/'))?;
            let inside = rest.is_empty() || rest.starts_with('/');
            inside.then(|| match format!("{}{rest}", mount.point.trim_end_matches('/')) {
                path if path.is_empty() => "/".to_owned(),
                path => path,
            })
        })
    }
}

fn parse_line(line: &str) -> Option<(u32, Mount)> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
    let (root, point) = (fields.next()?, fields.next()?);
    Some((device, Mount { id, root: unescape(root), point: unescape(point) }))
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

    const TABLE: &str =
        "1 0 8:1 / / rw - ext4 a rw\nnonsense\n2 1 8:2 /sub /mnt/a\\040b rw - ext4 b rw\n3 1 x:2 / /c rw\n";

    #[test]
    fn paths_are_found_through_the_mount_that_shows_them() {
        let table = Table::parse(TABLE);
        assert_eq!(table.locate(8 << 20 | 1, "/etc/x").as_deref(), Some("/etc/x"));
        assert_eq!(table.locate(8 << 20 | 1, "/").as_deref(), Some("/"));
        assert_eq!(table.locate(8 << 20 | 2, "/sub/f").as_deref(), Some("/mnt/a b/f"));
        assert_eq!(table.locate(8 << 20 | 2, "/subway/f"), None);
    }

    #[test]
    fn what_is_mounted_is_known_by_the_number_of_its_device() {
        let table = Table::parse(TABLE);
        assert_eq!([1, 2, 3].map(|minor| table.has(8 << 20 | minor)), [true, true, false]);
        assert_eq!(table.mounts().map(|mount| mount.id).sum::<u64>(), 3);
        assert!(Table::read().expect("mountinfo").mounts().any(|mount| mount.point == "/"));
    }
}
