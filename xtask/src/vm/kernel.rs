//! Debian's kernels: downloaded, unpacked, never installed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::download::{self, Origin};
use crate::command;

/// A kernel to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kernel {
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    #[value(name = "7.3")]
    V7_3,
}

/// A kernel that has been unpacked.
pub(super) struct Image {
    /// As `uname -r` would say.
    pub(super) version: String,
    pub(super) vmlinuz: PathBuf,
    /// The directory of its modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    pub(crate) const ALL: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_3];

    pub(super) fn origin(self) -> Origin {
        match self {
            Self::V6_1 => Origin::Meta("linux-image-cloud-amd64"),
            Self::V6_12 => Origin::Meta("linux-image-6.12-cloud-amd64"),
            // Experimental has a series before unstable does, and loses it to unstable.
            Self::V7_3 => Origin::Suites(&["experimental", "sid"]),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        })
    }
}

/// The kernel unpacked under `dir`, from an earlier run or now from Debian.
pub(super) fn fetch(kernel: Kernel, dir: &Path) -> Result<Image> {
    let unpacked = dir.join("root");
    if !unpacked.is_dir() {
        let packages = download::download(kernel, dir)?;
        // Renamed when whole, so that an interrupted run leaves nothing that looks complete.
        let partial = dir.join("root.partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        for package in &packages {
            command::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
        }
        fs::rename(&partial, &unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
        for package in &packages {
            fs::remove_file(package).with_context(|| format!("cannot remove {}", package.display()))?;
        }
    }
    image(&unpacked)
}

fn image(unpacked: &Path) -> Result<Image> {
    // Since 6.19 all is below /usr, and the kernel proper is beside its modules.
    let below = if unpacked.join("usr/lib/modules").is_dir() { "usr/lib/modules" } else { "lib/modules" };
    let modules = only_entry(&unpacked.join(below))?;
    let version = modules.file_name().context("a directory without a name")?.to_string_lossy().into_owned();
    let places = [unpacked.join("boot").join(format!("vmlinuz-{version}")), modules.join("vmlinuz")];
    let vmlinuz = places.into_iter().find(|path| path.is_file());
    let vmlinuz = vmlinuz.with_context(|| format!("no kernel is there; remove {}", unpacked.display()))?;
    Ok(Image { version, vmlinuz, modules })
}

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", dir.display()))??.path();
    ensure!(entries.next().is_none(), "{} holds more than one kernel", dir.display());
    Ok(first)
}
