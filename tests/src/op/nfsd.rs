//! A change by an NFS client that the kernel's own server serves.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};
use upcall_common::change::DATA;

use super::{Op, file, layers::Mount, prepared};

pub(super) const OPS: &[Op] = &[prepared("nfsd_write", &[file(DATA)], |dir| {
    let served = Served::over(dir)?;
    Ok(Box::new(move || {
        let file = served.open()?;
        file.write_all_at(b"by a client", 0)?;
        // Until then the client keeps it to itself.
        file.sync_all()
    }))
})
.refused_with(NO_NFSD)];

/// The kernel has no server or no client, somebody else's server is running, or the filesystem cannot be exported.
const NO_NFSD: &[i32] = &[libc::ENOENT, libc::ENODEV, libc::EBUSY, libc::EINVAL];

/// A directory that is mounted through NFS; unmounted before the server ends.
struct Served {
    mount: Mount,
    _server: Server,
}

impl Served {
    /// Serves `dir`, and mounts it on its own `dir2`.
    fn over(dir: &Path) -> io::Result<Self> {
        const OPTIONS: &str = "vers=4.2,sec=sys,soft,addr=127.0.0.1,clientaddr=127.0.0.1";
        let server = Server::start(dir)?;
        let mount = Mount::at(dir.join("dir2"), |at| {
            mount(Some("127.0.0.1:/"), at, Some("nfs4"), MsFlags::empty(), Some(OPTIONS))
        })?;
        let served = Self { mount, _server: server };
        // The first to open something waits for the end of the grace period.
        served.open()?;
        Ok(served)
    }

    fn open(&self) -> io::Result<File> {
        File::options().write(true).open(self.mount.path().join("file"))
    }
}

/// The kernel's server. There is one for all processes: they take turns.
struct Server {
    _turn: File,
}

impl Server {
    /// Tells the kernel what `mountd` would tell it, which is not in the virtual machine.
    fn start(dir: &Path) -> io::Result<Self> {
        let turn = File::open(control("threads"))?;
        turn.lock()?;
        // Older versions need a portmapper.
        tell(&control("versions"), "-2 -3 +4")?;
        // How long clients of before may reclaim, and others wait: the least. It cannot be ended, where nobody
        // keeps book of clients.
        tell(&control("nfsv4gracetime"), "10")?;
        let server = Self { _turn: turn };
        tell(&cache("auth.unix.ip"), &format!("nfsd 127.0.0.1 {NEVER} {CLIENTS}"))?;
        tell(&cache("auth.unix.gid"), &format!("0 {NEVER} 1 0"))?;
        let path = dir.display();
        tell(&cache("nfsd.export"), &format!("{CLIENTS} {path} {NEVER} {FLAGS} 65534 65534 0"))?;
        // What version 4 calls the root is the export of number 0, in four bytes.
        tell(&cache("nfsd.fh"), &format!(r"{CLIENTS} 1 \x00000000 {NEVER} {path}"))?;
        tell(&control("portlist"), "tcp 2049")?;
        tell(&control("threads"), "1")?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The kernel forgets the exports with the last thread; there is nobody to tell of a failure.
        let _ = tell(&control("threads"), "0");
    }
}

/// The name that the kernel knows the clients by.
const CLIENTS: &str = "upcall-tests";
/// When what the kernel is told expires, in seconds since 1970.
const NEVER: u32 = i32::MAX.unsigned_abs();
/// Any port of a client will do, handles say nothing of directories, and the export has a number.
const FLAGS: u32 = 0x2 | 0x400 | 0x2000;

fn control(name: &str) -> PathBuf {
    Path::new("/proc/fs/nfsd").join(name)
}

fn cache(name: &str) -> PathBuf {
    Path::new("/proc/net/rpc").join(name).join("channel")
}

/// The kernel takes a line in one go.
fn tell(path: &Path, line: &str) -> io::Result<()> {
    let told = format!("{line}\n");
    File::options().write(true).open(path)?.write_all(told.as_bytes())
}
