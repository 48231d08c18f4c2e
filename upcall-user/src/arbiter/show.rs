//! What is held, as JSON: the fields are in PROTOCOL.md.

use std::{fmt::Write, os::fd::AsRawFd, time::Instant};

use serde_json::{Value, json};
use upcall_common::{abi::Key, wire};

use super::{convert::ms, files::File, run::Task};
use crate::state::{ClientId, Connection, InodeId, LeaseKind, ShownInode, ShownOpen};

impl Task {
    /// Of a connection's client alone, or of all; of one file, or of all.
    pub(super) fn show(&self, only: Option<Connection>, file: Option<Key>) -> String {
        let client = only.map(|connection| self.clients.of(connection));
        // One that has not begun holds nothing.
        if client == Some(None) {
            return json!({"files": []}).to_string();
        }
        let (only, wanted) = (client.flatten(), file.map(|key| self.files.find(key)));
        let shown: Vec<Value> = self
            .files
            .iter()
            .filter(|(inode, _)| wanted.is_none_or(|wanted| wanted == Some(*inode)))
            .filter_map(|(inode, file)| self.show_file(inode, file, only))
            .collect();
        let mut shown = json!({"files": shown});
        if let (None, Some(fields)) = (only, shown.as_object_mut()) {
            let census = self.table.census();
            let totals = serde_json::to_value(self.totals).unwrap_or_default();
            fields.insert("totals".into(), totals);
            fields.insert(
                "now".into(),
                json!({
                    "clients": census.clients,
                    "files": census.inodes,
                    "opens": census.opens,
                    "leases": census.leases,
                    "recalls": census.recalls,
                    "locks": census.locks,
                    "waiting": census.waiting,
                }),
            );
        }
        shown.to_string()
    }

    fn show_file(&self, inode: InodeId, file: &File, only: Option<ClientId>) -> Option<Value> {
        let ShownInode { opens, leases, locks, waiting, .. } = self.table.show(inode, only)?;
        if only.is_some() && opens.is_empty() {
            return None;
        }
        let name = |client| self.table.client(client).map_or("", |(name, _)| name);
        let count = |open: &ShownOpen, kind: LeaseKind| -> usize {
            let of = leases.iter().filter(|lease| (lease.open, lease.kind) == (open.open, kind));
            of.map(|lease| lease.grants).sum()
        };
        let opens: Vec<Value> = opens
            .iter()
            .map(|open| {
                let recall =
                    open.recalled_until.map(|until| ms(until.saturating_duration_since(Instant::now())));
                let advisory = open.advisory || leases.iter().any(|it| it.open == open.open && it.advisory);
                json!({
                    "client": name(open.client),
                    "open": open.open.0,
                    "access": wire::Access::from(open.access).as_str(),
                    "deny": wire::Deny::from(open.deny).as_str(),
                    "lease_id": hexadecimal(&open.lease_id.0),
                    "read_leases": count(open, LeaseKind::Read),
                    "write_leases": count(open, LeaseKind::Write),
                    "advisory": advisory,
                    "recall_ms": recall,
                })
            })
            .collect();
        let locks: Vec<Value> = locks
            .iter()
            .map(|lock| {
                json!({
                    "client": name(lock.client),
                    "open": lock.open.0,
                    "owner": lock.owner,
                    "kind": wire::LockKind::from(lock.kind).as_str(),
                    "start": lock.range.start(),
                    "length": lock.range.length(),
                    "advisory": lock.advisory,
                })
            })
            .collect();
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.found.fd.as_raw_fd())).ok();
        let path = path.map(|path| path.display().to_string());
        Some(json!({"path": path, "opens": opens, "locks": locks, "waiting": waiting}))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // To a string it cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
