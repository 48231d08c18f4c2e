//! Runs of BPF programs that did not happen: the kernel skips a program that is already running on that CPU (in a
//! task that was preempted, say). What it would have marked is lost, so whoever finds that it happened must tell
//! every client to start anew.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Mutex,
};

/// The programs at work, and how many of their runs were missing when last asked.
#[derive(Debug)]
pub struct Misses {
    programs: Vec<OwnedFd>,
    known: Mutex<u64>,
}

impl Misses {
    pub(super) fn of(programs: Vec<OwnedFd>) -> Self {
        Self { programs, known: Mutex::new(0) }
    }

    /// Runs that have gone missing since the last call. Takes about 3 us a program.
    pub fn since_last_time(&self) -> io::Result<u64> {
        let count = self.programs.iter().try_fold(0, |sum, program| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
            Ok::<_, io::Error>(sum + missed(&info))
        })?;
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(count - std::mem::replace(&mut *known, count).min(count))
    }
}

/// The count in what the kernel says of a program's descriptor; kernels that have none miss none.
fn missed(info: &str) -> u64 {
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_description_of_a_program() {
        assert_eq!(missed("pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\n"), 12);
        assert_eq!(missed("pos:\t0\n"), 0);
    }
}
