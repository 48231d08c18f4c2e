//! The kernel's own filesystems.

use std::fs;

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

/// Filesystem, where, options. Parents come first.
const MOUNTS: [(&str, &str, &str); 10] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", ""),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=755"),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("securityfs", "/sys/kernel/security", ""),
];

pub(crate) fn kernel_filesystems() -> Result<()> {
    MOUNTS
        .into_iter()
        .try_for_each(|(filesystem, at, options)| filesystem_at(filesystem, at, filesystem, options))
}

/// What the NFS server and client are told through; reported where the kernel has none.
const NFS: [(&str, &str); 2] = [("nfsd", "/proc/fs/nfsd"), ("rpc_pipefs", "/run/rpc_pipefs")];

pub(crate) fn nfs_filesystems() {
    for (filesystem, at) in NFS {
        if let Err(error) = filesystem_at(filesystem, at, filesystem, "") {
            println!("init: no {filesystem}: {error:#}");
        }
    }
}

/// Mounts a filesystem on a directory, which is made if need be.
pub(crate) fn filesystem_at(source: &str, at: &str, filesystem: &str, options: &str) -> Result<()> {
    // Those below /sys are there already, and cannot be made.
    if !fs::exists(at).unwrap_or_default() {
        fs::create_dir_all(at).with_context(|| format!("cannot make {at}"))?;
    }
    match mount(Some(source), at, Some(filesystem), MsFlags::empty(), Some(options)) {
        // The kernel mounts devtmpfs itself when it is configured to.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot mount {filesystem} at {at}")),
    }
}
