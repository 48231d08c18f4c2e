//! System packages: installed when we are root on Debian, else named.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use anyhow::{Context, Result, bail};

use crate::command;

/// Sees to it that these Debian packages, or elsewhere the programs they bring, are installed.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_debian() {
        bail!("these Debian packages, or what this system calls them, must be installed first: {names}");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("missing packages; as root run: apt-get install {names}");
    }
    eprintln!("xtask: installing {names}");
    // Lists that are there and recent enough save a minute; stale ones show as a failure.
    if install(&missing).is_err() {
        update()?;
        install(&missing)?;
    }
    Ok(())
}

/// Brings these packages to the newest version that the archive has now; needs root.
pub(crate) fn upgrade(packages: &[&str]) -> Result<()> {
    eprintln!("xtask: upgrading {}", packages.join(" "));
    update()?;
    install(packages)
}

/// Fetches apt's lists, once however often it is asked for.
pub(crate) fn update() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut done = Ok(());
    ONCE.call_once(|| done = command::run(apt_get().args(["-q", "update"])));
    done.context("cannot fetch the package lists")
}

/// Whether apt is there to install and download packages with.
pub(crate) fn is_debian() -> bool {
    find("apt-get").is_some() && find("dpkg-query").is_some()
}

/// The name and release of this system, such as `debian 12`, as os-release(5) has them.
pub(crate) fn system() -> String {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    release(&text.unwrap_or_default())
}

fn release(text: &str) -> String {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches(['"', '\'']))
    };
    match (value("ID"), value("VERSION_ID")) {
        (Some(id), Some(version)) => format!("{id} {version}"),
        (id, _) => id.unwrap_or("unknown").to_owned(),
    }
}

/// A program by its name, also where only root's PATH looks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn installed(package: &str) -> bool {
    if let Some(program) = program_of(package)
        && find(program).is_some()
    {
        return true;
    }
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
    asked.is_ok_and(|output| output.stdout == b"installed")
}

/// A program that proves the package, or one like it on another system, to be there.
fn program_of(package: &str) -> Option<&'static str> {
    Some(match package {
        "acl" => "setfacl",
        "attr" => "setfattr",
        "btrfs-progs" => "mkfs.btrfs",
        "e2fsprogs" => "mkfs.ext4",
        "qemu-system-x86" => "qemu-system-x86_64",
        "xfsprogs" => "mkfs.xfs",
        "xz-utils" => "xz",
        "zstd" => "zstd",
        _ => return None,
    })
}

fn install(packages: &[&str]) -> Result<()> {
    command::run(apt_get().args(["-q", "install", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let program = find("apt-get").unwrap_or_else(|| Path::new("apt-get").to_path_buf());
    let mut command = Command::new(program);
    // Its progress is no result of ours.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_known_by_its_name_and_release() {
        assert_eq!(release("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"), "debian 12");
        assert_eq!(release("ID='arch'\n"), "arch");
        assert_eq!(release(""), "unknown");
    }
}
