//! One operation is one event, although several hooks may see it.

use std::collections::VecDeque;

use upcall_common::abi::{Hook, Key};

use super::LiveEvent;

/// Seconds in which the hooks of one operation follow each other: less than most ticks of the kernel's clock, within
/// which the tracepoints do not tell operations apart anyway.
const WINDOW: f64 = 0.002;
/// The same for a function and those above it: as long as the thread may be in them.
const INNER_WINDOW: f64 = 1.0;

/// Operations to look back to: more than threads take turns in the window.
const LOOK_BACK: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    time: f64,
    tid: u32,
    key: Key,
    op: &'static str,
    hook: Hook,
}

/// The last events shown.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Seen>);

impl Recent {
    /// Whether the operation of this event has been shown; else it counts as shown from now on.
    pub(super) fn has_shown(&mut self, event: &LiveEvent) -> bool {
        let LiveEvent { time, tid, op, seen_by: hook, .. } = *event;
        self.repeats(Seen { time, tid, key: event.key(), op, hook })
    }

    fn repeats(&mut self, seen: Seen) -> bool {
        let of_one = |earlier: &&Seen| {
            let window = if is_inner(earlier.hook) { INNER_WINDOW } else { WINDOW };
            (earlier.tid, earlier.key, earlier.op) == (seen.tid, seen.key, seen.op)
                && seen.time - earlier.time < window
        };
        if self.0.iter().filter(of_one).any(|earlier| follows(earlier.hook, seen.hook)) {
            return true;
        }
        if self.0.len() == LOOK_BACK {
            self.0.pop_front();
        }
        self.0.push_back(seen);
        false
    }
}

/// Whether `later` may see what `earlier` has seen.
fn follows(earlier: Hook, later: Hook) -> bool {
    match later {
        // Filesystems update times more than once in an operation.
        Hook::CtimeNsXchg | Hook::CtimeXchgSkip | Hook::InodeSetCtimeToTs => {
            matches!(earlier, Hook::CtimeNsXchg | Hook::CtimeXchgSkip | Hook::InodeSetCtimeToTs)
        }
        // Once for each page.
        Hook::FilemapDirtyFolio => is_inner(earlier),
        _ => is_inner(earlier) && earlier != later,
    }
}

/// Functions below those that other hooks are at.
fn is_inner(hook: Hook) -> bool {
    matches!(
        hook,
        Hook::GenericPerformWrite
            | Hook::IomapFileBufferedWrite
            | Hook::IomapDioComplete
            | Hook::DaxIomapRw
            | Hook::FilemapDirtyFolio
            | Hook::InodeDioWaitEntry
            | Hook::TruncatePagecacheRangeEntry
            | Hook::SetPosixAcl
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(time: f64, tid: u32, hook: Hook) -> Seen {
        Seen { time, tid, key: Key::new(1, 2), op: "write", hook }
    }

    #[test]
    fn what_two_hooks_saw_of_one_operation_is_shown_once() {
        let mut recent = Recent::default();
        assert!(!recent.repeats(seen(1.0, 7, Hook::GenericPerformWrite)));
        assert!(recent.repeats(seen(1.0001, 7, Hook::DoIterReadvWritev)));
        assert!(!recent.repeats(seen(1.0002, 8, Hook::DoIterReadvWritev)), "another thread");
        assert!(!recent.repeats(seen(2.0, 7, Hook::CtimeNsXchg)));
        assert!(recent.repeats(seen(2.0001, 7, Hook::CtimeXchgSkip)));
        assert!(!recent.repeats(seen(2.1, 7, Hook::CtimeXchgSkip)), "much later");
    }

    #[test]
    fn two_operations_are_shown_twice() {
        let mut recent = Recent::default();
        for hook in [Hook::VfsWrite, Hook::VfsWrite, Hook::DoIterReadvWritev] {
            assert!(!recent.repeats(seen(1.0, 7, hook)), "{hook:?}");
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut recent = Recent::default();
        for tid in 0..1000 {
            recent.repeats(seen(1.0, tid, Hook::VfsWrite));
        }
        assert_eq!(recent.0.len(), LOOK_BACK);
    }
}
