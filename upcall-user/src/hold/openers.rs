//! Who has a file open: a scan of `/proc`. The kernel keeps counts, but no list.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    Found(Opener),
    Nobody,
    /// Time ran out before all processes had been looked at.
    Cut,
}

/// The first such process that the file is open by, if one is found within `patience`. It costs some microseconds for each
/// descriptor on the host, so it belongs on a thread that may wait. Not found: openers that come meanwhile, in the kernel
/// itself (nfsd, loop), behind a descriptor in flight or a mapping, and in pid namespaces that this one does not contain.
///
/// Of writers alone, [`writecount`](upcall_common::abi::Probe::writecount) tells the number, exactly and at once: an open for
/// writing is counted before the `bpf` LSM is asked, so after [`super::Shares::deny`] none is missed.
pub fn find_opener(
    file: BorrowedFd<'_>,
    such: impl Fn(Opener) -> bool,
    patience: Duration,
) -> io::Result<Search> {
    let stat = fstat(file)?;
    let own = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let number = Info::parse(&fs::read_to_string(own)?).ino;
    let end = Instant::now() + patience;
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        // Processes end at any time; a kernel thread has no descriptors.
        let Ok(descriptors) = fs::read_dir(process.path().join("fdinfo")) else { continue };
        for descriptor in descriptors.flatten() {
            if Instant::now() >= end {
                return Ok(Search::Cut);
            }
            let Some(info) = Info::read(&descriptor.path()) else { continue };
            let Some(opener) = info.access.map(|access| Opener { pid, access }) else { continue };
            // Looking at the file itself may wait for whoever serves it, so most are told apart by the number.
            if info.ino == number && such(opener) {
                let file = process.path().join("fd").join(descriptor.file_name());
                let same = |other: fs::Metadata| (other.dev(), other.ino()) == (stat.st_dev, stat.st_ino);
                if fs::metadata(file).is_ok_and(same) {
                    return Ok(Search::Found(opener));
                }
            }
        }
    }
    Ok(Search::Nobody)
}

/// What `fdinfo` says of a descriptor.
#[derive(Debug, PartialEq, Eq)]
struct Info {
    /// `None`: `O_PATH`, which opens nothing.
    access: Option<Access>,
    /// As the kernel numbers the inode, which `stat` may not show.
    ino: Option<u64>,
}

impl Info {
    fn read(path: &Path) -> Option<Self> {
        fs::read_to_string(path).ok().map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let flags = field("flags:").and_then(|flags| i32::from_str_radix(flags, 8).ok());
        let access =
            flags.filter(|flags| flags & libc::O_PATH == 0).map(|flags| match flags & libc::O_ACCMODE {
                libc::O_RDONLY => Access::Read,
                libc::O_WRONLY => Access::Write,
                _ => Access::Both,
            });
        Self { access, ino: field("ino:").and_then(|number| number.parse().ok()) }
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
    fn what_fdinfo_says() {
        let both = |text| {
            let Info { access, ino } = Info::parse(text);
            (access, ino)
        };
        assert_eq!(both("pos:\t0\nflags:\t0100000\nmnt_id:\t1\nino:\t7\n"), (Some(Access::Read), Some(7)));
        assert_eq!(both("flags:\t0100001\nino:\t8\n"), (Some(Access::Write), Some(8)));
        assert_eq!(both("flags:\t02100002\n"), (Some(Access::Both), None));
        assert_eq!(both("flags:\t010100000\n"), (None, None));
        assert_eq!(both("pos:\t0\n"), (None, None));
    }

    #[test]
    fn a_process_that_has_it_open_is_found_and_this_one_is_not() {
        const PATIENCE: Duration = Duration::from_secs(60);
        /// More than are looked at of any one sort.
        const READERS: usize = 2000;
        let file = tempfile::NamedTempFile::new().unwrap();
        let here = File::open(file.path()).unwrap();
        let any = |_| true;
        assert_eq!(find_opener(here.as_fd(), any, PATIENCE).unwrap(), Search::Nobody);
        // Behind many readers there is one who writes.
        let script = "ulimit -n 4096; i=0; while [ $i -lt $2 ]; do eval \"exec {fd}<\\\"$1\\\"\"; i=$((i+1)); done; \
                      exec {fd}>>\"$1\"; echo; read line";
        let mut child = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(file.path())
            .arg(READERS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let reader = find_opener(here.as_fd(), any, PATIENCE).unwrap();
        let writer = find_opener(here.as_fd(), |opener| opener.access.writes(), PATIENCE).unwrap();
        let cut = find_opener(here.as_fd(), any, Duration::ZERO).unwrap();
        let opener = |access| Search::Found(Opener { pid: child.id(), access });
        let expected = (opener(Access::Read), opener(Access::Write));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((reader, writer), expected);
        assert_eq!(cut, Search::Cut);
    }
}
