//! Strategies for messages.

mod state;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use upcall_common::wire::*;

pub(crate) fn register(target: Target) -> Message {
    let item = RegisterItem {
        cookie: 1,
        mask: 2,
        include_own: true,
        names: true,
        lifetime_ms: 3,
        known_version: 4,
        target,
    };
    Message::Register(vec![item])
}

fn attrs() -> impl Strategy<Value = Attrs> {
    (any::<(u64, i64, i64)>(), any::<[u32; 6]>()).prop_map(
        |((size, mtime_sec, ctime_sec), [mtime_nsec, ctime_nsec, mode, uid, gid, nlink])| Attrs {
            size,
            mtime_sec,
            ctime_sec,
            mtime_nsec,
            ctime_nsec,
            mode,
            uid,
            gid,
            nlink,
        },
    )
}

fn code() -> impl Strategy<Value = Code> {
    (0_u16..Code::ALL.len() as u16 + 5).prop_map(Code::from)
}

fn target() -> impl Strategy<Value = Target> {
    let bytes = || vec(any::<u8>(), 0..50);
    prop_oneof![
        bytes().prop_map(Target::Path),
        (bytes(), any::<i32>(), vec(any::<u8>(), 0..=MAX_HANDLE))
            .prop_map(|(anchor, handle_type, handle)| Target::Handle { anchor, handle_type, handle }),
        any::<u8>().prop_map(Target::Descriptor),
        (4_u8..).prop_map(Target::Unrecognised),
    ]
}

fn register_item() -> impl Strategy<Value = RegisterItem> {
    (any::<(u64, u32, bool, bool, u32, u64)>(), target()).prop_map(
        |((cookie, mask, include_own, names, lifetime_ms, known_version), target)| RegisterItem {
            cookie,
            mask,
            include_own,
            names,
            lifetime_ms,
            known_version,
            target,
        },
    )
}

fn registered() -> impl Strategy<Value = Registered> {
    let known = prop_oneof![Just(Known::None), Just(Known::Unchanged), Just(Known::Changed)];
    (code(), known, any::<(u64, u64)>(), option::of(attrs())).prop_map(
        |(code, known, (interest, version), attrs)| Registered { code, known, interest, version, attrs },
    )
}

fn entry_name() -> impl Strategy<Value = EntryName> {
    let name = || vec(any::<u8>(), 0..40);
    ((0_u16..9, any::<bool>(), any::<i32>()), vec(any::<u8>(), 0..=MAX_HANDLE), name(), option::of(name()))
        .prop_map(|((kind, directory, handle_type), handle, name, new_name)| EntryName {
            kind: kind.into(),
            directory,
            handle_type,
            handle,
            name,
            new_name,
        })
}

pub(crate) fn upcall_item() -> impl Strategy<Value = UpcallItem> {
    (any::<(u32, u64, u64, u64, bool, bool)>(), option::of(attrs()), vec(entry_name(), 0..4)).prop_map(
        |((mask, cookie, interest, version, ended, names_incomplete), attrs, names)| UpcallItem {
            mask,
            cookie,
            interest,
            version,
            attrs,
            ended,
            names,
            names_incomplete,
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<(u16, u16, u64)>(), ".{0,30}").prop_map(|((version_min, version_max, features), name)| Hello {
        version_min,
        version_max,
        features,
        name,
    })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (any::<(u16, u32, u32, u64, u64)>(), ".{0,30}").prop_map(
        |((version, max_body, max_batch, features, epoch), server)| Welcome {
            version,
            max_body,
            max_batch,
            features,
            epoch,
            server,
        },
    )
}

/// Messages whose bodies may grow at the end.
pub(crate) fn extensible() -> impl Strategy<Value = Message> {
    prop_oneof![14 => basic(), 25 => state::extensible()]
}

fn basic() -> impl Strategy<Value = Message> {
    let renew = any::<(u64, u32)>().prop_map(|(interest, lifetime_ms)| RenewItem { interest, lifetime_ms });
    prop_oneof![
        hello().prop_map(Message::Hello),
        welcome().prop_map(Message::Welcome),
        vec(register_item(), 0..8).prop_map(Message::Register),
        vec(registered(), 0..8).prop_map(Message::Registered),
        vec(any::<u64>(), 0..8).prop_map(Message::Unregister),
        vec(code(), 0..8).prop_map(Message::Unregistered),
        vec(renew, 0..8).prop_map(Message::Renew),
        vec(code(), 0..8).prop_map(Message::Renewed),
        vec(upcall_item(), 0..8).prop_map(Message::Upcall),
        Just(Message::Sync),
        Just(Message::Synced),
        Just(Message::Status),
        (0_u16..7, ".{0,30}").prop_map(|(reason, text)| Message::Resync { reason: reason.into(), text }),
        (code(), ".{0,30}").prop_map(|(code, message)| Message::Error { code, message }),
    ]
}

/// Every message.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let payload = || vec(any::<u8>(), 0..=MAX_PING);
    prop_oneof![
        39 => extensible(),
        1 => payload().prop_map(|bytes| Message::Ping(bytes.into())),
        1 => payload().prop_map(|bytes| Message::Pong(bytes.into())),
        1 => ".{0,60}".prop_map(Message::StatusReply),
        1 => ".{0,60}".prop_map(Message::Events),
        1 => ".{0,60}".prop_map(Message::Event),
        1 => state::shown(),
        1 => (FrameType::ALL.len() as u16 + 1.., payload()).prop_map(|(kind, body)| Message::Unknown { kind, body: body.into() }),
    ]
}
