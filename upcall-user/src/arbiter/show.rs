//! What is held, as JSON: the fields are in PROTOCOL.md.

use std::{fmt::Write, time::Instant};

use serde_json::{Map, Value, json};
use upcall_common::{abi::Key, wire};

use super::{
    convert::ms,
    files::File,
    journal::{path, whom},
    run::Task,
};
use crate::state::{
    ClientId, Connection, InodeId, LeaseKind, ShownInode, ShownLease, ShownLock, ShownOpen, ShownRecall,
    ShownRequest, Wish,
};

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
        if let (None, Some(shown), Value::Object(summary)) = (only, shown.as_object_mut(), self.summary()) {
            shown.extend(summary);
        }
        shown.to_string()
    }

    /// How much is held, and what has happened so far.
    pub(super) fn summary(&self) -> Value {
        let census = self.table.census();
        let now = json!({
            "clients": census.clients,
            "files": census.inodes,
            "opens": census.opens,
            "leases": census.leases,
            "recalls": census.recalls,
            "locks": census.locks,
            "waiting": census.waiting,
        });
        json!({"now": now, "totals": self.journal.totals})
    }

    fn show_file(&self, inode: InodeId, file: &File, only: Option<ClientId>) -> Option<Value> {
        let ShownInode { opens, leases, locks, waiting, .. } = self.table.show(inode, only)?;
        if only.is_some() && opens.is_empty() && waiting.is_empty() {
            return None;
        }
        let opens: Vec<Value> = opens.iter().map(|open| self.show_open(open, &leases)).collect();
        let locks: Vec<Value> = locks.iter().map(|lock| self.show_lock(lock)).collect();
        let waiting: Vec<Value> = waiting.iter().map(|request| self.show_request(request)).collect();
        Some(json!({"path": path(&file.found), "opens": opens, "locks": locks, "waiting": waiting}))
    }

    fn show_open(&self, open: &ShownOpen, leases: &[ShownLease]) -> Value {
        let carried: Vec<&ShownLease> = leases.iter().filter(|lease| lease.open == open.open).collect();
        let count = |kind: LeaseKind| -> usize {
            carried.iter().filter(|lease| lease.kind == kind).map(|lease| lease.grants).sum()
        };
        let recall = open.recall.as_ref().map(|ShownRecall { deadline, keep, who }| {
            let keep = wire::Keep::from(*keep).as_str();
            json!({"left_ms": left(*deadline), "keep": keep, "who": whom(who.clone())})
        });
        let mut fields = self.owner(open.client);
        fields.extend(object(json!({
            "open": open.open.0,
            "access": wire::Access::from(open.access).as_str(),
            "deny": wire::Deny::from(open.deny).as_str(),
            "lease_id": hexadecimal(&open.lease_id.0),
            "read_leases": count(LeaseKind::Read),
            "write_leases": count(LeaseKind::Write),
            "advisory": open.advisory || carried.iter().any(|lease| lease.advisory),
            "seconds": open.since.elapsed().as_secs(),
            "lease_seconds": carried.first().map(|lease| lease.since.elapsed().as_secs()),
            "lapses_ms": open.lapses.map(left),
            "recall": recall,
        })));
        Value::Object(fields)
    }

    fn show_lock(&self, lock: &ShownLock) -> Value {
        let mut fields = self.owner(lock.client);
        fields.extend(object(json!({
            "open": lock.open.0,
            "owner": lock.owner,
            "kind": wire::LockKind::from(lock.kind).as_str(),
            "start": lock.range.start(),
            "length": lock.range.length(),
            "advisory": lock.advisory,
            "seconds": lock.since.elapsed().as_secs(),
        })));
        Value::Object(fields)
    }

    fn show_request(&self, request: &ShownRequest) -> Value {
        let mut fields = self.owner(request.client);
        fields.extend(object(match request.wish {
            Wish::Open { access, deny } => {
                let (access, deny) = (wire::Access::from(access), wire::Deny::from(deny));
                json!({"what": "open", "access": access.as_str(), "deny": deny.as_str()})
            }
            Wish::Lease { kind } => json!({"what": "lease", "kind": wire::LeaseKind::from(kind).as_str()}),
            Wish::Lock { owner, kind, range } => json!({
                "what": "lock",
                "owner": owner,
                "kind": wire::LockKind::from(kind).as_str(),
                "start": range.start(),
                "length": range.length(),
            }),
        }));
        fields.insert("seconds".into(), request.since.elapsed().as_secs().into());
        Value::Object(fields)
    }

    /// Whose it is.
    fn owner(&self, client: ClientId) -> Map<String, Value> {
        let shown = self.table.client(client);
        object(json!({
            "client": shown.map(|client| client.name),
            "uid": shown.map(|client| client.uid),
            "pid": self.clients.pid(client),
            "connected": shown.is_some_and(|client| client.connected),
        }))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn left(until: Instant) -> u32 {
    ms(until.saturating_duration_since(Instant::now()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // To a string it cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
