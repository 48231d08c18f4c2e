//! What is held, as JSON, page by page: the fields are in PROTOCOL.md.

use std::{fmt::Write, time::Instant};

use serde_json::{Map, Value, json};
use upcall_common::wire::{self, MAX_BODY, MAX_NAME, MAX_PATH};

use super::{Begun, FileKey, convert::ms, journal::whom, run::Task};
use crate::state::{
    ClientId, Connection, InodeId, Place, Shown, ShownLease, ShownLock, ShownOpen, ShownRecall, ShownRequest,
    Wish,
};

/// By a connection's client alone, or by all; of one file, or of all.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    only: Option<Connection>,
    file: Option<FileKey>,
}

impl Query {
    pub fn new(only: Option<&Begun>, file: Option<FileKey>) -> Self {
        Self { only: only.map(|begun| begun.connection), file }
    }
}

/// What there was no room for begins with this file, after this place.
#[derive(Clone, Copy, Debug)]
pub struct Position(InodeId, Option<Place>);

/// What fits a frame.
#[derive(Debug)]
pub struct Page {
    pub json: String,
    pub next: Option<Position>,
}

/// Others wait until a page is done, so it is far smaller than a frame may be.
const ROOM: usize = MAX_BODY as usize / 4;
/// Files looked at for a page, since some have nothing to show.
const MOST_FILES: usize = 256;
/// Of a byte of a name, as JSON.
const ESCAPED: usize = 6;
/// An object's names (whose it is, and for whom it is recalled), and all its other fields.
const ITEM: usize = 2 * MAX_NAME * ESCAPED + 1024;
/// A path, and what is around the lists.
const FILE: usize = MAX_PATH * ESCAPED + 256;
const _: () = assert!(FILE + ITEM <= ROOM && ROOM + FILE + ITEM <= MAX_BODY as usize);

impl Task {
    pub(super) fn show(&self, query: Query, from: Option<Position>) -> Page {
        let client = query.only.map(|connection| self.clients.of(connection));
        let wanted = query.file.map(|key| self.files.find(key));
        let mut files = Vec::new();
        // Who has not begun holds nothing.
        let next = match (client, wanted) {
            (Some(None), _) | (_, Some(None)) => None,
            (client, wanted) => self.fill(&mut files, client.flatten(), wanted.flatten(), from),
        };
        let mut page = object(json!({ "files": files }));
        if let (None, None, Value::Object(summary)) = (query.only, from, self.summary()) {
            page.extend(summary);
        }
        Page { json: Value::Object(page).to_string(), next }
    }

    /// Until the page is full.
    fn fill(
        &self,
        files: &mut Vec<Value>,
        only: Option<ClientId>,
        wanted: Option<InodeId>,
        from: Option<Position>,
    ) -> Option<Position> {
        let first = from.map_or(wanted.unwrap_or(InodeId(0)), |Position(inode, _)| inode);
        let mut room = ROOM;
        let such = self.files.from(first).take_while(|(inode, _)| wanted.is_none_or(|it| it == *inode));
        for (looked, (inode, file)) in such.enumerate() {
            let mut last = from.filter(|from| from.0 == inode).and_then(|Position(_, place)| place);
            if looked == MOST_FILES {
                return Some(Position(inode, last));
            }
            let mut shown = self.table.show(inode, only, last).peekable();
            if shown.peek().is_none() {
                continue;
            }
            if room < FILE + ITEM {
                return Some(Position(inode, last));
            }
            room -= FILE;
            let [mut opens, mut locks, mut waiting] = [const { Vec::new() }; 3];
            let full = loop {
                match (shown.next(), room.checked_sub(ITEM)) {
                    (None, _) => break false,
                    (Some(_), None) => break true,
                    (Some((place, shown)), Some(left)) => {
                        (last, room) = (Some(place), left);
                        match shown {
                            Shown::Open(open) => opens.push(self.show_open(open)),
                            Shown::Lock(lock) => locks.push(self.show_lock(&lock)),
                            Shown::Request(request) => waiting.push(self.show_request(&request)),
                        }
                    }
                }
            };
            let path = file.found.path();
            files.push(
                json!({"file": inode.0, "path": path, "opens": opens, "locks": locks, "waiting": waiting}),
            );
            if full {
                return Some(Position(inode, last));
            }
        }
        None
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

    fn show_open(&self, open: ShownOpen) -> Value {
        let lease = open.lease.as_ref();
        let recall =
            lease.and_then(|lease| lease.recall.as_ref()).map(|ShownRecall { deadline, keep, who }| {
                let keep = wire::Keep::from(*keep).as_str();
                json!({"left_ms": left(*deadline), "keep": keep, "who": whom(who.clone())})
            });
        let mut fields = self.owner(open.client);
        fields.extend(object(json!({
            "open": open.open.0,
            "access": wire::Access::from(open.access).as_str(),
            "deny": wire::Deny::from(open.deny).as_str(),
            "lease_id": hexadecimal(&open.lease_id.0),
            "read_leases": lease.map_or(0, |lease| lease.reads),
            "write_leases": lease.map_or(0, |lease| lease.writes),
            "advisory": open.advisory || lease.is_some_and(|lease| lease.advisory),
            "seconds": open.since.elapsed().as_secs(),
            "lease_seconds": lease.map(|lease: &ShownLease| lease.since.elapsed().as_secs()),
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
