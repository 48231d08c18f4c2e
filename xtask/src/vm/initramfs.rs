//! What the machine boots with: everything it needs, in memory.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{cpio::Archive, kernel::Image, modules, programs::Programs};

/// The directory that `vm_init` reads its orders from.
const ORDERS: &str = "/etc/upcall-vm";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Writes the archive.
pub(super) fn write(to: &Path, image: &Image, programs: &Programs, args: &[String]) -> Result<()> {
    let mut archive = Archive::default();
    for dir in
        ["/bin", "/dev", "/etc", ORDERS, "/lib", "/lib/modules", "/mnt", "/proc", "/root", "/run", "/sys"]
    {
        archive.dir(dir, 0o755);
    }
    archive.dir("/tmp", 0o1777);
    archive.device("/dev/console", 0o600, (5, 1));
    archive.file("/etc/passwd", 0o644, PASSWD.as_bytes());
    archive.file("/etc/group", 0o644, GROUP.as_bytes());

    let mut order = String::new();
    for (name, bytes) in modules::load(&image.modules)? {
        writeln!(order, "{name}")?;
        archive.file(&format!("/lib/modules/{name}.ko"), 0o644, &bytes);
    }
    archive.file(&format!("{ORDERS}/modules"), 0o644, order.as_bytes());
    archive.file(&format!("{ORDERS}/args"), 0o644, lines(args)?.as_bytes());

    archive.file("/init", 0o755, &read(&programs.init)?);
    archive.file("/bin/kernel-tests", 0o755, &read(&programs.tests)?);
    if let Some(upcall) = &programs.upcall {
        archive.file("/bin/upcall", 0o755, &read(upcall)?);
    }
    fs::write(to, archive.finish()).with_context(|| format!("cannot write {}", to.display()))
}

/// Arguments as a file of lines.
fn lines(args: &[String]) -> Result<String> {
    let mut text = String::new();
    for arg in args {
        ensure!(!arg.contains('\n'), "an argument for the test program cannot hold a line break: {arg:?}");
        writeln!(text, "{arg}")?;
    }
    Ok(text)
}

fn read(program: &Path) -> Result<Vec<u8>> {
    fs::read(program).with_context(|| format!("cannot read {}", program.display()))
}
