//! Counts of tests, read from what test runners print.

use std::{fmt, ops::AddAssign};

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Summary {
    /// Reads the line with which libtest and libtest-mimic end:
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; ...`.
    pub(crate) fn from_result_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().split_once("test result:")?;
        let count = |what: &str| {
            let mut parts = counts.split(['.', ';']).map(str::trim);
            parts.find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    /// Reads what `Display` writes.
    pub(crate) fn from_total_line(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(", ");
        let mut count = |what: &str| parts.next()?.strip_suffix(what)?.trim().parse().ok();
        let sum = Self { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
        parts.next().is_none().then_some(sum)
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_gives_its_counts() {
        let line =
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.25s";
        assert_eq!(Summary::from_result_line(line), Some(Summary { passed: 5, failed: 0, skipped: 1 }));
    }

    #[test]
    fn colour_and_carriage_return_do_not_matter() {
        let line = "test result: \x1b[31mFAILED\x1b[0m. 12 passed; 3 failed; 0 ignored; 0 measured\r";
        assert_eq!(Summary::from_result_line(line), Some(Summary { passed: 12, failed: 3, skipped: 0 }));
    }

    #[test]
    fn other_lines_and_broken_counts_are_no_summary() {
        for line in [
            "test result of something",
            "running 3 tests",
            "test result: ok. 5 passed; 0 failed",
            "test result: ok. x passed; 0 failed; 0 ignored",
            "test result: ok. -1 passed; 0 failed; 0 ignored",
        ] {
            assert_eq!(Summary::from_result_line(line), None, "{line}");
        }
    }

    #[test]
    fn sums_are_printed_in_words() {
        let mut sum = Summary { passed: 1, failed: 0, skipped: 2 };
        sum += Summary { passed: 10, failed: 1, skipped: 0 };
        assert_eq!(sum.to_string(), "11 passed, 1 failed, 2 skipped");
        assert_eq!(Summary::from_total_line("11 passed, 1 failed, 2 skipped"), Some(sum));
        assert_eq!(Summary::from_total_line("  vm 6.1 3.0 s 11 passed, 1 failed, 2 skipped"), None);
    }
}
