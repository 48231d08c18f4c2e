//! The record beside the object: which toolchain made it, with which flags, and its digest.

use std::fmt;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{build::FLAGS, linker, toolchain::Toolchain};

const DIGEST: &str = "sha256: ";

/// What `upcall.bpf.toolchain` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Everything that must be equal for the bytes to be.
    pub(super) toolchain: String,
    pub(super) sha256: String,
}

impl Record {
    pub(super) fn new(toolchain: &Toolchain, object: &[u8]) -> Self {
        let toolchain = format!(
            "{}\nbpf-linker {}\nflags: {} (paths remapped, debug sections removed)",
            toolchain.version,
            linker::VERSION,
            FLAGS.join(" ")
        );
        Self { toolchain, sha256: sha256(object) }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let (toolchain, digest) = text
            .trim_end()
            .rsplit_once('\n')
            .context("the record of the object's toolchain has one line only; run: cargo xtask ebpf")?;
        let digest = digest.strip_prefix(DIGEST).context(
            "the record of the object's toolchain does not end with a digest; run: cargo xtask ebpf",
        )?;
        Ok(Self { toolchain: toolchain.to_owned(), sha256: digest.to_owned() })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{DIGEST}{}", self.toolchain, self.sha256)
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_as_written() -> Result<()> {
        let record =
            Record { toolchain: "rustc 1.96.0\nbpf-linker 0.10.3".into(), sha256: sha256(b"object") };
        assert_eq!(Record::parse(&record.to_string())?, record);
        Ok(())
    }

    #[test]
    fn a_record_without_a_digest_is_refused() {
        assert!(Record::parse("rustc 1.96.0\n").is_err());
        assert!(Record::parse("rustc 1.96.0\nbpf-linker 0.10.3\n").is_err());
    }
}
