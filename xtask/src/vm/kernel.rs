//! Debian's kernels: found through their meta packages, downloaded, unpacked, never installed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{command, packages};

/// A kernel to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
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
    pub(crate) const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// The package that depends on the newest build.
    fn meta_package(self) -> &'static str {
        match self {
            Self::V6_1 => "linux-image-cloud-amd64",
            Self::V6_12 => "linux-image-6.12-cloud-amd64",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

/// The kernel unpacked under `dir`, from an earlier run or now from Debian.
pub(super) fn fetch(kernel: Kernel, dir: &Path) -> Result<Image> {
    let unpacked = dir.join("root");
    if !unpacked.is_dir() {
        let package = download(kernel, dir)?;
        // Renamed when whole, so that an interrupted run leaves nothing that looks complete.
        let partial = dir.join("root.partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        command::run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&partial))?;
        fs::rename(&partial, &unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
        fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
    }
    image(&unpacked)
}

fn image(unpacked: &Path) -> Result<Image> {
    let modules = only_entry(&unpacked.join("lib/modules"))?;
    let version = modules.file_name().context("a directory without a name")?.to_string_lossy().into_owned();
    let vmlinuz = unpacked.join("boot").join(format!("vmlinuz-{version}"));
    ensure!(vmlinuz.is_file(), "{} is missing; remove {}", vmlinuz.display(), unpacked.display());
    Ok(Image { version, vmlinuz, modules })
}

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", dir.display()))??.path();
    ensure!(entries.next().is_none(), "{} holds more than one kernel", dir.display());
    Ok(first)
}

fn download(kernel: Kernel, dir: &Path) -> Result<PathBuf> {
    ensure!(
        packages::is_debian(),
        "the kernels to test on are Debian packages: run this on Debian 12, in a container if need be"
    );
    let name = match newest(kernel) {
        Ok(name) => name,
        Err(_) => packages::update().and_then(|()| newest(kernel))?,
    };
    eprintln!("xtask: downloading {name}");
    if get(&name, dir).is_err() {
        // The lists were older than the archive.
        packages::update()?;
        get(&newest(kernel)?, dir)?;
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|end| end == "deb")).context("apt-get left no package")
}

fn newest(kernel: Kernel) -> Result<String> {
    let meta = kernel.meta_package();
    let depends = command::output(Command::new("apt-cache").args(["depends", meta]))?;
    let name = dependency(&depends).with_context(|| format!("{meta} depends on no kernel"))?;
    ensure!(
        name.starts_with(&format!("linux-image-{kernel}.")),
        "{meta} brings {name} on this release of Debian, not Linux {kernel}: run this on Debian 12"
    );
    Ok(name.to_owned())
}

/// The kernel's package in what `apt-cache depends` says of its meta package.
fn dependency(depends: &str) -> Option<&str> {
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with("linux-image-"))
}

fn get(name: &str, dir: &Path) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    // The sandbox's own user can rarely write here, and apt warns of it.
    apt_get.args(["-q", "-o", "APT::Sandbox::User=root", "download", name]).current_dir(dir);
    command::run(apt_get.stdout(std::io::stderr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_dependency_of_its_meta_package() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: x\n";
        assert_eq!(dependency(depends), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
    }
}
