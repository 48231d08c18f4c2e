//! Whether a machine's tests passed. Three witnesses must agree: init's last line, the test program's
//! summary, and the code with which QEMU ended.

use anyhow::{Result, bail, ensure};

use crate::summary::Summary;

/// QEMU's exit code when init wrote "success" to the debug-exit device: (0x10 << 1) | 1. A panic or a
/// shutdown ends QEMU with 0, which is therefore no success.
pub(super) const EXIT_SUCCESS: i32 = 33;

/// What the console has shown so far.
#[derive(Default)]
pub(super) struct Verdict {
    summary: Option<Summary>,
    /// What init said last: `success` or `failure CODE`.
    init: Option<String>,
    panic: Option<String>,
}

impl Verdict {
    /// Takes one line of the console.
    pub(super) fn see(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(said) = line.strip_prefix("init: ") {
            if said == "success" || said.starts_with("failure") {
                self.init = Some(said.to_owned());
            }
        } else if let Some(summary) = Summary::from_result_line(line) {
            let mut sum = self.summary.unwrap_or_default();
            sum += summary;
            self.summary = Some(sum);
        } else if line.contains("Kernel panic - not syncing") {
            self.panic = Some(line.to_owned());
        }
    }

    /// Judges, once QEMU has ended with `code`. Failed tests are a result; anything else is an error.
    pub(super) fn judge(self, code: Option<i32>) -> Result<Summary> {
        if let Some(panic) = self.panic {
            bail!("the kernel panicked: {panic}");
        }
        let Some(init) = self.init else {
            bail!("the machine ended ({}) before init said how the tests went", shown(code));
        };
        let Some(summary) = self.summary else { bail!("init says {init}, but no test summary was printed") };
        let agreed = (init == "success", code == Some(EXIT_SUCCESS), summary.failed == 0);
        match agreed {
            (true, true, true) => {
                ensure!(summary.passed > 0, "no test was run ({summary})");
                Ok(summary)
            }
            (false, false, false) => Ok(summary),
            _ => bail!("init says {init}, the tests say {summary}, QEMU ended with {}", shown(code)),
        }
    }
}

fn shown(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
    const FAILED: &str = "test result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out";

    fn judge(lines: &[&str], code: i32) -> Result<Summary> {
        let mut verdict = Verdict::default();
        for line in lines {
            verdict.see(line);
        }
        verdict.judge(Some(code))
    }

    #[test]
    fn three_witnesses_that_agree_are_believed() -> Result<()> {
        assert_eq!(judge(&[PASSED, "init: success\r"], 33)?, Summary { passed: 5, failed: 0, skipped: 1 });
        assert_eq!(judge(&[FAILED, "init: failure 101\r"], 35)?.failed, 1);
        Ok(())
    }

    #[test]
    fn any_witness_that_differs_is_an_error() {
        for (lines, code) in [
            (&[PASSED, "init: success"][..], 0),
            (&[PASSED, "init: success"], 35),
            (&[FAILED, "init: success"], 33),
            (&[PASSED, "init: failure 1"], 35),
            (&[FAILED, "init: failure 1"], 33),
            (&["init: success"], 33),
            (&[PASSED], 33),
            (&[PASSED, "[    1.0] Kernel panic - not syncing: x", "init: success"], 33),
            (&["test result: ok. 0 passed; 0 failed; 9 ignored", "init: success"], 33),
            (&[], 0),
        ] {
            assert!(judge(lines, code).is_err(), "{lines:?} {code}");
        }
    }

    #[test]
    fn other_words_of_init_are_no_verdict() {
        assert!(judge(&[PASSED, "init: xfs is mounted", "success"], 33).is_err());
    }
}
