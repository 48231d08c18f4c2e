//! What has happened so far, for operators.

use serde::Serialize;

use crate::events::{StateOp, What};

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Totals {
    /// Grants of each.
    opens: u64,
    leases: u64,
    locks: u64,
    refused: u64,
    /// Recalls sent.
    recalled: u64,
    returned: u64,
    revoked: u64,
    contended: u64,
    /// Opens that were not reclaimed.
    lapsed: u64,
    /// Breaks of the kernel's leases by local processes.
    pub(super) broken: u64,
}

impl Totals {
    pub(super) fn count(&mut self, op: StateOp, what: Option<&What>) {
        let count = match (op, what) {
            (StateOp::Grant, Some(What::Open { .. })) => &mut self.opens,
            (StateOp::Grant, Some(What::Lease { .. })) => &mut self.leases,
            (StateOp::Grant, Some(What::Lock { .. })) => &mut self.locks,
            (StateOp::Refuse, _) => &mut self.refused,
            (StateOp::Recall, _) => &mut self.recalled,
            (StateOp::Return, _) => &mut self.returned,
            (StateOp::Revoke, _) => &mut self.revoked,
            (StateOp::Contention, _) => &mut self.contended,
            (StateOp::Lapse, _) => &mut self.lapsed,
            (StateOp::Grant | StateOp::Extend | StateOp::Unlock | StateOp::Close, _) => return,
        };
        *count += 1;
    }
}
