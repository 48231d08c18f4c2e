//! Who holds how much memory.

use std::{collections::BTreeMap, fs};

use ::tests::fdinfo;
use anyhow::{Context, Result};
use nix::unistd::sync;

/// Bytes of the daemon's own, and of its BPF maps.
pub fn of_daemon(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Maps that are mapped are counted as maps.
    let own = field(&status, "RssAnon:").context("no RssAnon")? * 1024;
    let mut maps = BTreeMap::new();
    for info in fdinfo::of(pid)? {
        if let (Some(id), Some(bytes)) = (field(&info, "map_id:"), field(&info, "memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok((own, maps.values().sum()))
}

/// Bytes that the kernel holds in slabs and cannot do without.
pub fn slabs() -> Result<u64> {
    drop_caches()?;
    let info = fs::read_to_string("/proc/meminfo")?;
    Ok(field(&info, "Slab:").context("no Slab")? * 1024)
}

/// Inodes of ext4 in memory.
pub fn inodes() -> Result<u64> {
    let slabs = fs::read_to_string("/proc/slabinfo").context("cannot read /proc/slabinfo")?;
    field(&slabs, "ext4_inode_cache").context("no slab of ext4 inodes")
}

/// Forgets what can be read again.
pub fn drop_caches() -> Result<()> {
    sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")
}

/// The number after the key of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_key() {
        let text = "pos:\t0\nmap_id:\t17\nmemlock:\t4096\nSlab:      12 kB\next4_inode_cache  5  9 1184\n";
        assert_eq!(field(text, "map_id:"), Some(17));
        assert_eq!(field(text, "Slab:"), Some(12));
        assert_eq!(field(text, "ext4_inode_cache"), Some(5));
        assert_eq!(field(text, "RssAnon:"), None);
    }
}
