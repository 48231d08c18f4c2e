//! A kernel's packages: found and downloaded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{apt::Apt, kernel::Kernel};
use crate::packages;

/// Where a kernel is.
pub(super) enum Origin {
    /// In the system's own release, through the package that depends on the newest build.
    Meta(&'static str),
    /// The newest build of the series in the first of these suites that has one, as a package of the kernel
    /// proper and one of its modules (as Debian has it since 6.19).
    Suites(&'static [&'static str]),
}

/// Debian's kernel for virtual machines: it has the filesystems, nfsd among them, and boots sooner.
const FLAVOUR: &str = "-cloud-amd64";

/// A package's name and its version.
#[derive(Debug, PartialEq)]
struct Build<'a> {
    package: &'a str,
    version: &'a str,
}

/// Downloads into `dir`, which holds no other packages.
pub(super) fn download(kernel: Kernel, dir: &Path) -> Result<Vec<PathBuf>> {
    ensure!(
        packages::is_debian(),
        "the kernels to test on are Debian packages: run this on Debian 12, in a container if need be"
    );
    // What an interrupted run left behind.
    for path in files(dir)? {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    match kernel.origin() {
        Origin::Meta(meta) => from_meta_package(kernel, meta, dir)?,
        Origin::Suites(suites) => from_suites(kernel, suites, dir)?,
    }
    let files = files(dir)?;
    ensure!(!files.is_empty(), "apt-get left no package in {}", dir.display());
    Ok(files)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect())
}

fn from_meta_package(kernel: Kernel, meta: &str, dir: &Path) -> Result<()> {
    let apt = Apt::of_system();
    let name = match image_of(&apt, kernel, meta) {
        Ok(name) => name,
        Err(_) => packages::update().and_then(|()| image_of(&apt, kernel, meta))?,
    };
    if apt.download(&[name], dir).is_err() {
        // The lists were older than the archive.
        packages::update()?;
        apt.download(&[image_of(&apt, kernel, meta)?], dir)?;
    }
    Ok(())
}

fn image_of(apt: &Apt, kernel: Kernel, meta: &str) -> Result<String> {
    let depends = apt.cache(&["depends", meta])?;
    let name = dependency(&depends).with_context(|| format!("{meta} depends on no kernel"))?;
    ensure!(
        is_of_series(name, "linux-image-", kernel),
        "{meta} brings {name} on this release of Debian, not Linux {kernel}: run this on Debian 12"
    );
    Ok(name.to_owned())
}

/// The kernel's package in what `apt-cache depends` says of its meta package.
fn dependency(depends: &str) -> Option<&str> {
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with("linux-image-"))
}

fn from_suites(kernel: Kernel, suites: &[&str], dir: &Path) -> Result<()> {
    // One for all kernels, beside their directories.
    let lists = dir.with_file_name("apt");
    for suite in suites {
        let apt = Apt::of_suite(suite, &lists)?;
        let names = apt.cache(&["pkgnames", &format!("linux-binary-{kernel}")])?;
        let names: Vec<_> = names
            .lines()
            .filter(|name| name.ends_with(FLAVOUR) && is_of_series(name, "linux-binary-", kernel))
            .collect();
        if names.is_empty() {
            continue;
        }
        let shown = apt.cache(&[&["show", "--no-all-versions"], &names[..]].concat())?;
        let Some(newest) = newest(builds(&shown))? else { continue };
        let modules = newest.replacen("linux-binary-", "linux-modules-", 1);
        return apt.download(&[newest.to_owned(), modules], dir);
    }
    bail!("no Linux {kernel} (linux-binary-{kernel}*{FLAVOUR}) in Debian's {}", suites.join(" or "))
}

/// Whether a package's name goes on with the kernel's series: 7.3 and 7.3.1 are of 7.3, 7.30 is not.
fn is_of_series(package: &str, prefix: &str, kernel: Kernel) -> bool {
    let version = package.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(&kernel.to_string()));
    version.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// The packages in what `apt-cache show` says.
fn builds(shown: &str) -> Vec<Build<'_>> {
    shown.split("\n\n").filter_map(build).collect()
}

fn build(stanza: &str) -> Option<Build<'_>> {
    let value = |key| stanza.lines().find_map(|line| line.strip_prefix(key));
    Some(Build { package: value("Package: ")?, version: value("Version: ")? })
}

fn newest(builds: Vec<Build<'_>>) -> Result<Option<&str>> {
    let mut newest: Option<Build<'_>> = None;
    for build in builds {
        if match &newest {
            Some(so_far) => is_newer(build.version, so_far.version)?,
            None => true,
        } {
            newest = Some(build);
        }
    }
    Ok(newest.map(|build| build.package))
}

/// By Debian's rules: 7.3~rc7 comes before 7.3, and 7.3.2 before 7.3.10.
fn is_newer(version: &str, other: &str) -> Result<bool> {
    let status = Command::new("dpkg").args(["--compare-versions", version, "gt", other]).status();
    Ok(status.context("cannot run dpkg")?.success())
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

    #[test]
    fn a_series_is_no_prefix_of_another() {
        let of_7_3 = |name| is_of_series(name, "linux-binary-", Kernel::V7_3);
        assert!(of_7_3("linux-binary-7.3-cloud-amd64"));
        assert!(of_7_3("linux-binary-7.3.1+deb14-cloud-amd64"));
        assert!(of_7_3("linux-binary-7.3-rc7-cloud-amd64"));
        assert!(!of_7_3("linux-binary-7.30-cloud-amd64"));
        assert!(!of_7_3("linux-binary-unsigned-7.3-cloud-amd64"));
        assert!(is_of_series("linux-image-6.1.0-56-cloud-amd64", "linux-image-", Kernel::V6_1));
        assert!(!is_of_series("linux-image-6.12.117+deb12-cloud-amd64", "linux-image-", Kernel::V6_1));
    }

    #[test]
    fn packages_are_read_with_their_versions() {
        let shown =
            "Package: a\nSource: s (1)\nVersion: 7.3~rc7-1\nDescription: x\n Version: 9\n\nPackage: b\n";
        assert_eq!(builds(shown), [Build { package: "a", version: "7.3~rc7-1" }]);
    }

    #[test]
    fn the_newest_is_chosen_by_debians_rules() -> Result<()> {
        if packages::find("dpkg").is_none() {
            return Ok(());
        }
        let build = |package, version| Build { package, version };
        let builds = vec![
            build("candidate", "7.3~rc7-1~exp1"),
            build("second", "7.3.2-1"),
            build("tenth", "7.3.10-1"),
            build("first", "7.3-1"),
        ];
        assert_eq!(newest(builds)?, Some("tenth"));
        assert_eq!(newest(vec![build("candidate", "7.3~rc7-1"), build("first", "7.3-1")])?, Some("first"));
        assert_eq!(newest(Vec::new())?, None);
        Ok(())
    }
}
