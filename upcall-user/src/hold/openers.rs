//! Who has a file open: a scan of `/proc`. The kernel keeps counts, but no list.

use std::{
    fs, io,
    os::{fd::BorrowedFd, unix::fs::MetadataExt},
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::stat::fstat;

use super::Access;

/// A process other than this one, and how it has the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    pub pid: u32,
    pub access: Access,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub openers: Vec<Opener>,
    /// Time or room ran out before all processes had been looked at.
    pub cut: bool,
}

/// Descriptors of other processes that the file is open by, at most `most` of them, within `patience`. It costs some
/// microseconds for each descriptor on the host, so it belongs on a thread that may wait. Not found: openers that come
/// meanwhile, in the kernel itself (nfsd, loop), behind a descriptor in flight or a mapping, and in pid namespaces
/// that this one does not contain.
///
/// Of writers alone, [`writecount`](upcall_common::abi::Probe::writecount) tells the number, exactly and at once: an open for
/// writing is counted before the `bpf` LSM is asked, so after [`super::Shares::deny`] none is missed.
pub fn openers(file: BorrowedFd<'_>, most: usize, patience: Duration) -> io::Result<Search> {
    let stat = fstat(file)?;
    let end = Instant::now() + patience;
    let mut found = Search::default();
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        // Processes end at any time; a kernel thread has no descriptors.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            if found.openers.len() >= most || Instant::now() >= end {
                found.cut = true;
                return Ok(found);
            }
            let same = fs::metadata(descriptor.path())
                .is_ok_and(|other| (other.dev(), other.ino()) == (stat.st_dev, stat.st_ino));
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            if let Some(access) = same.then(|| access(&info)).flatten() {
                found.openers.push(Opener { pid, access });
            }
        }
    }
    Ok(found)
}

fn access(info: &Path) -> Option<Access> {
    parse(&fs::read_to_string(info).ok()?)
}

/// From the octal flags in a descriptor's `fdinfo`. `None`: `O_PATH`, which opens nothing.
fn parse(info: &str) -> Option<Access> {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
    if flags & libc::O_PATH != 0 {
        return None;
    }
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Some(Access::Read),
        libc::O_WRONLY => Some(Access::Write),
        _ => Some(Access::Both),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        os::fd::AsFd,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn flags_of_fdinfo() {
        assert_eq!(parse("pos:\t0\nflags:\t0100000\nmnt_id:\t1\n"), Some(Access::Read));
        assert_eq!(parse("flags:\t0100001\n"), Some(Access::Write));
        assert_eq!(parse("flags:\t02100002\n"), Some(Access::Both));
        assert_eq!(parse("flags:\t010100000\n"), None);
        assert_eq!(parse("pos:\t0\n"), None);
    }

    #[test]
    fn a_process_that_has_it_open_is_found_and_this_one_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let patience = Duration::from_secs(10);
        let here = File::open(file.path()).unwrap();
        assert_eq!(openers(here.as_fd(), 9, patience).unwrap(), Search::default());
        let output = File::options().append(true).open(file.path()).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(output).spawn().unwrap();
        let expected = vec![Opener { pid: child.id(), access: Access::Write }];
        let found = openers(here.as_fd(), 9, patience).unwrap();
        let cut = openers(here.as_fd(), 0, patience).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found, Search { openers: expected, cut: false });
        assert!(cut.cut);
    }
}
