//! How long the kernel lets a local process wait for a lease: `fs.lease-break-time`. When it is over, the kernel takes
//! the lease away, so a recall has to have ended before.

use std::{fs, io, time::Duration};

/// The kernel's setting, for the whole host.
pub const PATH: &str = "/proc/sys/fs/lease-break-time";

/// Between the last moment of a recall and the kernel's patience: to see the deadline and give the lease up.
pub const MARGIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum BreakTimeError {
    #[error("cannot read {PATH}: {0}")]
    Unreadable(io::Error),
    #[error("{PATH} holds no number: {0:?}")]
    NotANumber(String),
    #[error(
        "a recall may take {} s, but the kernel takes leases away after {now} s, and raising that to {needed} s was refused: {error}; \
         set the sysctl fs.lease-break-time, or configure a shorter recall",
        recall.as_secs()
    )]
    TooShort { recall: Duration, now: u64, needed: u64, error: io::Error },
}

/// Raises the kernel's setting if a recall of this length, extension included, could outlast it. It stays raised: others
/// may count on it by the time that the daemon ends. What the setting was before, if it was raised.
pub fn ensure(recall: Duration) -> Result<Option<u64>, BreakTimeError> {
    let text = fs::read_to_string(PATH).map_err(BreakTimeError::Unreadable)?;
    let now = parse(&text).ok_or(BreakTimeError::NotANumber(text))?;
    let needed = needed(recall);
    if is_enough(now, needed) {
        return Ok(None);
    }
    fs::write(PATH, needed.to_string()).map_err(|error| BreakTimeError::TooShort {
        recall,
        now,
        needed,
        error,
    })?;
    Ok(Some(now))
}

fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// In whole seconds.
fn needed(recall: Duration) -> u64 {
    let needed = recall.saturating_add(MARGIN);
    needed.as_secs() + u64::from(needed.subsec_nanos() > 0)
}

/// 0: the kernel waits for as long as it takes.
const fn is_enough(now: u64, needed: u64) -> bool {
    now == 0 || now >= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recall_and_the_margin_fit_or_are_rounded_up() {
        assert_eq!(needed(Duration::from_secs(40)), 45);
        assert_eq!(needed(Duration::from_millis(40_001)), 46);
        assert!(is_enough(45, 45));
        assert!(!is_enough(44, 45));
        assert!(is_enough(0, 45));
        assert_eq!(parse("45\n"), Some(45));
        assert_eq!(parse("many"), None);
    }

    #[test]
    fn it_is_raised_when_a_recall_could_outlast_it_and_left_alone_otherwise() {
        if crate::sys::testing::needs_root() {
            return;
        }
        let set = || parse(&fs::read_to_string(PATH).unwrap()).unwrap();
        let before = set();
        assert!(before >= MARGIN.as_secs(), "this host's {PATH} is {before}");
        assert_eq!(ensure(Duration::ZERO).unwrap(), None);
        assert_eq!(set(), before);
        let longer = Duration::from_secs(before + 1) - MARGIN;
        assert_eq!(ensure(longer).unwrap(), Some(before));
        assert_eq!(set(), before + 1);
        fs::write(PATH, before.to_string()).unwrap();
    }
}
