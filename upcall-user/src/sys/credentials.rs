//! Acting as another user, in one thread only.
//!
//! `fsuid` and `fsgid` rather than `setresuid`: they are what the kernel checks file access against (by
//! `openat2`, and by `faccessat2` with `AT_EACCESS`), and they don't let the user send signals to the thread.
//! glibc's `setgroups` changes every thread of the process, hence the raw call.
//!
//! A change of `fsuid` makes the kernel mark the process as not dumpable: no core dumps from then on.

use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Uid, getgroups, setfsgid, setfsuid};

use super::checked;

/// While it lives, the current thread reaches files as another user, without any capability.
/// Dropping it restores the thread; if the kernel refuses that, the process aborts.
#[must_use = "the thread is itself again as soon as this is dropped"]
pub struct Impersonation {
    saved: Saved,
    /// Credentials belong to the thread, so the guard must stay in it.
    _not_send: PhantomData<*const ()>,
}

struct Saved {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    capabilities: Capabilities,
}

impl Impersonation {
    /// Fails with `EPERM` where the process may not change its credentials; the thread is then as before.
    pub fn enter(uid: u32, gid: u32, groups: &[u32]) -> io::Result<Self> {
        let saved = Saved {
            uid: current_fsuid(),
            gid: current_fsgid(),
            groups: getgroups()?,
            capabilities: Capabilities::of_thread()?,
        };
        // From here on an early return drops the guard, which takes back what was done so far.
        let guard = Self { saved, _not_send: PhantomData };
        set_groups(groups)?;
        set_fsgid(Gid::from_raw(gid))?;
        set_fsuid(Uid::from_raw(uid))?;
        // The kernel takes away the file capabilities only when fsuid leaves 0; a daemon that isn't uid 0
        // would keep them.
        guard.saved.capabilities.with_none_effective().apply()?;
        Ok(guard)
    }
}

impl Drop for Impersonation {
    fn drop(&mut self) {
        if let Err(error) = self.saved.restore() {
            // A thread left with a client's credentials would go on to serve others with them.
            // Not `eprintln!`, whose panic without a stderr would let the thread go on.
            let _ = writeln!(
                io::stderr(),
                "upcall: cannot take back the daemon's own credentials ({error}); aborting"
            );
            std::process::abort();
        }
    }
}

impl Saved {
    fn restore(&self) -> io::Result<()> {
        // First the capability to change ids; last the exact set, since a return to fsuid 0 raises some.
        self.capabilities.apply()?;
        set_fsuid(self.uid)?;
        set_fsgid(self.gid)?;
        if getgroups()? != self.groups {
            let groups: Vec<u32> = self.groups.iter().map(|group| group.as_raw()).collect();
            set_groups(&groups)?;
        }
        self.capabilities.apply()
    }
}

/// Whether BPF programs know this process by the same number as it knows itself.
pub fn in_initial_pid_namespace() -> bool {
    /// PROC_PID_INIT_INO
    const INITIAL: u64 = 0xEFFF_FFFC;
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL)
}

/// `setfsuid` reports no error; with an impossible id it changes nothing and tells the current one.
fn current_fsuid() -> Uid {
    setfsuid(Uid::from_raw(u32::MAX))
}

fn current_fsgid() -> Gid {
    setfsgid(Gid::from_raw(u32::MAX))
}

fn set_fsuid(uid: Uid) -> io::Result<()> {
    setfsuid(uid);
    if current_fsuid() == uid { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

fn set_fsgid(gid: Gid) -> io::Result<()> {
    setfsgid(gid);
    if current_fsgid() == gid { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and length are those of a live slice of `gid_t`, which the kernel only reads. The
    // call changes nothing but the credentials of this thread.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; version 3 takes two of them.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityHalf {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[derive(Clone, Copy)]
struct Capabilities([CapabilityHalf; 2]);

impl Capabilities {
    fn of_thread() -> io::Result<Self> {
        let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
        let mut halves = [CapabilityHalf::default(); 2];
        // SAFETY: both pointers are to live records of the layout that version 3 prescribes, two halves.
        checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
        Ok(Self(halves))
    }

    fn with_none_effective(self) -> Self {
        Self(self.0.map(|half| CapabilityHalf { effective: 0, ..half }))
    }

    fn apply(&self) -> io::Result<()> {
        let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
        // SAFETY: as for `capget`; the kernel only reads the halves. Pid 0 means this thread alone.
        checked(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, self.0.as_ptr()) })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
