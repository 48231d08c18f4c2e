//! What has happened so far, for operators.

use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) granted: u64,
    pub(super) recalled: u64,
    pub(super) returned: u64,
    pub(super) revoked: u64,
    pub(super) contended: u64,
    /// Breaks of the kernel's leases by local processes.
    pub(super) broken: u64,
}
