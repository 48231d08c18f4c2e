//! PROTOCOL.md and the code say the same: golden bytes and tables are read from the document itself.

#[path = "golden/state.rs"]
mod state;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use upcall_common::change;
use upcall_common::wire::*;

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The bytes of each ```` ```golden NAME ```` block, by name.
fn blocks() -> BTreeMap<&'static str, BytesMut> {
    let mut blocks = BTreeMap::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```golden ") else { continue };
        let body = lines.by_ref().take_while(|line| *line != "```");
        let bytes = body
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{name}: not a byte: {byte}")))
            .collect();
        assert_eq!(blocks.insert(name, bytes), None, "two blocks are called {name}");
    }
    blocks
}

/// The rows of the table in the section called `section` whose first column is called `first`.
fn table(section: &str, first: &str) -> Vec<Vec<&'static str>> {
    let mut lines = DOCUMENT.lines().skip_while(|line| line.trim_start_matches('#').trim() != section);
    lines.next().unwrap_or_else(|| panic!("no section {section}"));
    let rows = lines
        .skip_while(|line| !line.starts_with(&format!("| {first} |")))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| unquoted(cell.trim())).collect());
    rows.collect()
}

fn unquoted(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or(cell)
}

fn attrs() -> Attrs {
    Attrs {
        size: 4096,
        mtime_sec: 1_700_000_000,
        ctime_sec: 1_700_000_001,
        mtime_nsec: 500_000_000,
        ctime_nsec: 999_999_999,
        mode: 0o100_644,
        uid: 1000,
        gid: 100,
        nlink: 1,
    }
}

fn register() -> Message {
    let plain = RegisterItem {
        cookie: 0xc0_ffee,
        mask: change::DATA | change::SIZE,
        include_own: false,
        names: false,
        lifetime_ms: 0,
        known_version: 0,
        target: Target::Path(b"/srv/data/a".to_vec()),
    };
    let handle = RegisterItem {
        cookie: 0xc0_ffef,
        mask: change::MODE | change::OWNER | change::OTHER,
        include_own: true,
        names: false,
        lifetime_ms: 60_000,
        known_version: 41,
        target: Target::Handle {
            anchor: b"/srv/data".to_vec(),
            handle_type: 1,
            handle: vec![0xa1, 0xb2, 0xc3, 0xd4, 1, 0, 0, 0],
        },
    };
    let descriptor = RegisterItem {
        cookie: 0xc0_fff0,
        mask: change::DATA,
        target: Target::Descriptor(0),
        ..plain.clone()
    };
    let directory = RegisterItem {
        cookie: 0xc0_fff1,
        mask: change::ENTRIES,
        names: true,
        target: Target::Path(b"/srv/data".to_vec()),
        ..plain.clone()
    };
    Message::Register(vec![plain, handle, descriptor, directory])
}

fn registered() -> Message {
    let fresh =
        Registered { code: Code::Ok, known: Known::None, interest: 7, version: 12, attrs: Some(attrs()) };
    let unchanged =
        Registered { code: Code::Ok, known: Known::Unchanged, interest: 8, version: 41, attrs: None };
    Message::Registered(vec![fresh, unchanged, Registered::refused(Code::BadTarget)])
}

fn upcall() -> Message {
    let changed = UpcallItem {
        mask: change::DATA | change::SIZE | change::TIMES,
        cookie: 0xc0_ffee,
        interest: 7,
        version: 15,
        attrs: Some(attrs()),
        ended: false,
        names: Vec::new(),
        names_incomplete: false,
    };
    let forgotten = UpcallItem {
        mask: change::FORGET,
        cookie: 0xc0_ffef,
        interest: 8,
        version: 42,
        attrs: None,
        ended: true,
        ..changed.clone()
    };
    let renamed = EntryName {
        kind: EntryKind::Renamed,
        directory: false,
        handle_type: 1,
        handle: vec![0xa1, 0xb2, 0xc3, 0xd4, 1, 0, 0, 0],
        name: b"draft".to_vec(),
        new_name: Some(b"final".to_vec()),
    };
    let created = EntryName {
        kind: EntryKind::Created,
        directory: true,
        handle_type: 0,
        handle: Vec::new(),
        name: b"sub".to_vec(),
        new_name: None,
    };
    let entries = UpcallItem {
        mask: change::ENTRIES,
        cookie: 0xc0_fff1,
        interest: 10,
        version: 7,
        attrs: None,
        ended: false,
        names: vec![renamed, created],
        names_incomplete: true,
    };
    Message::Upcall(vec![changed, forgotten, entries])
}

/// What each block must mean.
fn expected() -> Vec<(u32, Message)> {
    let payload = || Bytes::from_static(&[1, 2, 3, 4]);
    let mut all = vec![
        (1, Message::Hello(Hello { version_min: 1, version_max: 1, features: 3, name: "example".into() })),
        (
            1,
            Message::Welcome(Welcome {
                version: VERSION,
                max_body: MAX_BODY,
                max_batch: MAX_BATCH,
                features: FEATURE_DESCRIPTORS | FEATURE_NAMES,
                epoch: 0x1122_3344_5566_7788,
                server: "upcall 0.1.0".into(),
            }),
        ),
        (2, register()),
        (2, registered()),
        (3, Message::Unregister(vec![7, 99])),
        (3, Message::Unregistered(vec![Code::Ok, Code::NoInterest])),
        (4, Message::Renew(vec![RenewItem { interest: 8, lifetime_ms: 60_000 }])),
        (4, Message::Renewed(vec![Code::Ok])),
        (0, upcall()),
        (5, Message::Sync),
        (5, Message::Synced),
        (6, Message::Ping(payload())),
        (6, Message::Pong(payload())),
        (0, Message::Resync { reason: ResyncReason::Shutdown, text: "daemon stops".into() }),
        (7, Message::Error { code: Code::BatchTooLarge, message: "5000 items, at most 4096".into() }),
        (8, Message::Status),
        (8, Message::StatusReply(r#"{"slots":65536}"#.into())),
        (9, Message::Events(r#"{"pid":42}"#.into())),
        (9, Message::Event(r#"{"pid":42,"op":"write"}"#.into())),
    ];
    all.extend(state::expected());
    all
}

#[test]
fn every_block_means_what_it_says() {
    let mut blocks = blocks();
    let expected = expected();
    assert_eq!(expected.len(), FrameType::ALL.len(), "a type has no expected message");
    for (frame_type, (tag, message)) in FrameType::ALL.iter().zip(expected) {
        let name = frame_type.as_str();
        assert_eq!(message.kind(), u16::from(*frame_type), "{name}");
        let golden = blocks.remove(name).unwrap_or_else(|| panic!("no block for {name}"));
        let mut rest = golden.clone();
        assert_eq!(decode(&mut rest), Ok(Some((tag, message.clone()))), "{name}");
        assert!(rest.is_empty(), "{name} has bytes after its frame");
        let mut again = BytesMut::new();
        encode(&message, tag, &mut again).expect("it fits a frame");
        assert_eq!(again, golden, "{name}");
    }
    assert_eq!(blocks.keys().next(), None, "a block is of no known type");
}

/// Number, name and meaning of each row must be those of `all`.
fn same<'a>(section: &str, first: &str, all: impl Iterator<Item = (u16, String, &'a str)>) {
    let rows = table(section, first);
    let code: Vec<Vec<String>> =
        all.map(|(number, name, meaning)| vec![number.to_string(), name, meaning.to_owned()]).collect();
    assert_eq!(rows, code, "{section}");
}

#[test]
fn the_types_are_those_of_the_code() {
    let all = FrameType::ALL.iter().map(|kind| {
        let name = kind.as_str();
        ((*kind).into(), format!("[{}](#{name})", name.to_uppercase()), kind.meaning())
    });
    same("Messages", "type", all);
}

#[test]
fn the_codes_are_those_of_the_code() {
    same(
        "Codes",
        "code",
        Code::ALL.iter().map(|code| ((*code).into(), code.as_str().into(), code.meaning())),
    );
}

#[test]
fn the_reasons_are_those_of_the_code() {
    let all =
        ResyncReason::ALL.iter().map(|reason| ((*reason).into(), reason.as_str().into(), reason.meaning()));
    same("RESYNC", "reason", all);
}

#[test]
fn the_kinds_of_entries_are_those_of_the_code() {
    let all = EntryKind::ALL.iter().map(|kind| ((*kind).into(), kind.as_str().into(), kind.meaning()));
    same("Names of entries", "kind", all);
}

#[test]
fn the_change_bits_are_those_of_the_code() {
    let rows = table("Change bits", "mask");
    let document: Vec<(String, &str)> = rows.iter().map(|row| (row[0].to_owned(), row[1])).collect();
    let code: Vec<(String, &str)> =
        change::NAMES.iter().map(|(bit, name)| (format!("{bit:#06x}"), *name)).collect();
    assert_eq!(document, code);
    assert!(rows.iter().all(|row| !row[2].is_empty()));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let rows = table("Limits", "name");
    let document: Vec<(&str, usize)> =
        rows.iter().map(|row| (row[0], row[1].parse().expect("a number"))).collect();
    let code = [
        ("MAX_BODY", MAX_BODY as usize),
        ("MAX_BATCH", MAX_BATCH as usize),
        ("MAX_UPCALLS", MAX_UPCALLS as usize),
        ("MAX_DESCRIPTORS", MAX_DESCRIPTORS),
        ("MAX_HANDLE", MAX_HANDLE),
        ("MAX_PATH", MAX_PATH),
        ("MAX_ENTRY_NAMES", MAX_ENTRY_NAMES),
        ("MAX_ENTRY_BYTES", MAX_ENTRY_BYTES),
        ("MAX_WAITING_BYTES", MAX_WAITING_BYTES),
        ("MAX_PING", MAX_PING),
        ("MAX_NAME", MAX_NAME),
        ("MAX_TEXT", MAX_TEXT),
    ];
    assert_eq!(document, code);
}
