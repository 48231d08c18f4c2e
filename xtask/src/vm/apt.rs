//! Debian's apt: with the system's lists, or with lists of its own for another suite.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{command, packages};

/// What Debian signs its suites with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The settings that lead every program of apt to one set of lists.
pub(super) struct Apt {
    /// Read after the system's own; without it the system's lists are used.
    config: Option<PathBuf>,
}

impl Apt {
    pub(super) fn of_system() -> Self {
        Self { config: None }
    }

    /// One that knows the packages of `suite` alone, as they are now. It keeps all its files below `dir`, and
    /// nothing of the system's is changed.
    pub(super) fn of_suite(suite: &str, dir: &Path) -> Result<Self> {
        let dir = dir.join(suite);
        for directory in ["lists/partial", "cache/archives/partial"].map(|name| dir.join(name)) {
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let config = dir.join("apt.conf");
        let source = format!("deb [arch=amd64 signed-by={KEYRING}] {} {suite} main\n", mirror()?);
        for (path, text) in [
            (dir.join("sources.list"), source.as_str()),
            (dir.join("status"), ""),
            (config.clone(), &settings(&dir)),
        ] {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let apt = Self { config: Some(config) };
        command::run(apt.command("apt-get").args(["-q", "update"]).stdout(std::io::stderr()))?;
        Ok(apt)
    }

    /// What `apt-cache` says.
    pub(super) fn cache(&self, args: &[&str]) -> Result<String> {
        command::output(self.command("apt-cache").args(args))
    }

    /// Leaves the packages' files in `dir`.
    pub(super) fn download(&self, names: &[String], dir: &Path) -> Result<()> {
        eprintln!("xtask: downloading {}", names.join(" "));
        let mut apt_get = self.command("apt-get");
        // The sandbox's own user can rarely write here, and apt warns of it.
        apt_get.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(names).current_dir(dir);
        command::run(apt_get.stdout(std::io::stderr()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(config) = &self.config {
            command.arg("-c").arg(config);
        }
        command
    }
}

/// The system's hooks are left out: in Debian's container images they delete what another apt has downloaded.
fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#
    )
}

/// Where this system gets Debian's packages from.
fn mirror() -> Result<String> {
    let known = || -> Result<Option<String>> {
        let mut asked = Command::new("apt-get");
        asked.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        let uris = command::output(asked.args(["Origin: Debian", "Label: Debian", "Component: main"]))?;
        Ok(uris.lines().next().map(str::to_owned))
    };
    let mut uri = known()?;
    if uri.is_none() {
        // Only what has been fetched is listed.
        packages::update()?;
        uri = known()?;
    }
    uri.context("apt's sources name no mirror of Debian to get other suites from")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_keep_to_their_directory_and_run_no_hooks() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("apt.conf");
        fs::write(&config, settings(dir.path()))?;
        let Some(apt_config) = packages::find("apt-config") else { return Ok(()) };
        let dump = command::output(Command::new(apt_config).arg("-c").arg(&config).arg("dump"))?;
        let value = |key: &str| {
            let line = dump.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.map(|text| text.trim_end_matches(';').trim_matches('"').to_owned())
        };
        for (key, name) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            assert_eq!(value(key).map(PathBuf::from), Some(dir.path().join(name)), "{key}");
        }
        assert!(!dump.lines().any(|line| line.starts_with("APT::Update::Post-Invoke::")), "{dump}");
        Ok(())
    }
}
