//! Properties of the codec: what is encoded is decoded, and no input whatever harms it.

mod messages;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use upcall_common::wire::{
    Code, DecodeError, EncodeError, EntryKind, EntryName, FrameType, HEADER_LEN, Header, MAX_BODY,
    MAX_ENTRY_BYTES, MAX_ENTRY_NAMES, MAX_TEXT, MAX_UPCALLS, Message, Target, UpcallBatch, UpcallItem,
    decode, encode, take_frame,
};

fn frame(message: &Message, tag: u32) -> BytesMut {
    let mut out = BytesMut::new();
    encode(message, tag, &mut out).expect("the message fits a frame");
    out
}

fn raw(kind: u16, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(&u32::try_from(body.len()).expect("short").to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0xff, 0xff]);
    out.extend_from_slice(&7_u32.to_le_bytes());
    out.extend_from_slice(body);
    out
}

proptest! {
    #[test]
    fn round_trip(message in messages::message(), tag: u32) {
        let mut buf = frame(&message, tag);
        prop_assert_eq!(decode(&mut buf), Ok(Some((tag, message))));
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn a_truncated_frame_is_not_yet_a_frame(message in messages::message(), cut in any::<prop::sample::Index>()) {
        let mut buf = frame(&message, 1);
        buf.truncate(cut.index(buf.len()));
        let before = buf.clone();
        prop_assert_eq!(decode(&mut buf), Ok(None));
        prop_assert_eq!(buf, before);
    }

    #[test]
    fn frames_follow_each_other(first in messages::message(), second in messages::message()) {
        let mut buf = frame(&first, 1);
        encode(&second, 2, &mut buf).expect("the message fits a frame");
        prop_assert_eq!(decode(&mut buf), Ok(Some((1, first))));
        prop_assert_eq!(decode(&mut buf), Ok(Some((2, second))));
        prop_assert_eq!(decode(&mut buf), Ok(None));
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut buf = BytesMut::from(bytes.as_slice());
        while let Ok(Some(_)) = decode(&mut buf) {}
    }

    #[test]
    fn random_bodies_do_no_harm(kind in 0..FrameType::ALL.len() as u16 + 5, body in prop::collection::vec(any::<u8>(), 0..300)) {
        match decode(&mut raw(kind, &body)) {
            Ok(Some((tag, message))) => prop_assert_eq!((tag, message.kind()), (7, kind)),
            Ok(None) => prop_assert!(false, "the frame is whole"),
            Err(error) => prop_assert_eq!((error.tag(), error.code()), (7, Code::Malformed)),
        }
    }

    #[test]
    fn damaged_frames_do_no_harm(message in messages::message(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut buf = frame(&message, 1);
        let at = at.index(buf.len());
        buf[at] = byte;
        if let Ok(Some((tag, message))) = decode(&mut buf) {
            // What was understood can be said again.
            prop_assert!(encode(&message, tag, &mut BytesMut::new()).is_ok());
        }
    }

    #[test]
    fn bytes_after_the_known_body_are_ignored(message in messages::extensible(), more in prop::collection::vec(any::<u8>(), 1..20)) {
        let known = frame(&message, 7);
        let body = [&known[HEADER_LEN..], &more].concat();
        prop_assert_eq!(decode(&mut raw(message.kind(), &body)), Ok(Some((7, message))));
    }

    #[test]
    fn a_batch_is_the_same_as_a_message(items in prop::collection::vec(messages::upcall_item(), 1..20)) {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut batch = UpcallBatch::begin(&mut out);
        for item in &items {
            prop_assert!(batch.push(item));
        }
        prop_assert_eq!(batch.finish() as usize, items.len());
        prop_assert_eq!(&out[6..], &frame(&Message::Upcall(items), 0)[..]);
    }
}

fn item() -> UpcallItem {
    UpcallItem {
        mask: 1,
        cookie: 2,
        interest: 3,
        version: 4,
        attrs: None,
        ended: false,
        names: Vec::new(),
        names_incomplete: false,
    }
}

/// An entry of so many bytes.
fn entry(len: usize) -> EntryName {
    let (kind, handle) = (EntryKind::Created, vec![7; 8]);
    EntryName { kind, directory: true, handle_type: 1, handle, name: vec![b'n'; len - 22], new_name: None }
}

#[test]
fn names_that_an_item_has_no_room_for_are_incomplete() {
    let sent = |names: Vec<EntryName>| match decode(&mut frame(
        &Message::Upcall(vec![UpcallItem { names, ..item() }]),
        0,
    )) {
        Ok(Some((0, Message::Upcall(items)))) => (items[0].names.len(), items[0].names_incomplete),
        other => panic!("{other:?}"),
    };
    assert_eq!(entry(64).wire_len(), 64);
    assert_eq!(sent(vec![entry(MAX_ENTRY_BYTES)]), (1, false));
    assert_eq!(sent(vec![entry(MAX_ENTRY_BYTES + 1)]), (0, true));
    assert_eq!(sent(vec![entry(64); MAX_ENTRY_NAMES]), (MAX_ENTRY_NAMES, false));
    assert_eq!(sent(vec![entry(24); MAX_ENTRY_NAMES + 1]), (0, true));
    let handle = vec![0; upcall_common::wire::MAX_HANDLE + 1];
    assert_eq!(sent(vec![EntryName { handle, ..entry(64) }]), (0, true));
}

#[test]
fn a_batch_of_long_items_ends_at_the_frame() {
    let item = UpcallItem { names: vec![entry(MAX_ENTRY_BYTES)], ..item() };
    let mut out = BytesMut::new();
    let mut batch = UpcallBatch::begin(&mut out);
    let mut taken = 0;
    while batch.push(&item) {
        taken += 1;
    }
    let len = 32 + 2 + MAX_ENTRY_BYTES;
    assert_eq!(taken, (MAX_BODY as usize - 4) / len);
    drop(batch);
    assert_eq!(out.len(), HEADER_LEN + 4 + taken * len);
    assert!(matches!(decode(&mut out), Ok(Some((0, Message::Upcall(items)))) if items.len() == taken));
}

#[test]
fn items_may_grow() {
    let item = UpcallItem { ended: true, ..item() };
    let known = frame(&Message::Upcall(vec![item.clone()]), 7);
    let mut body = known[HEADER_LEN..].to_vec();
    body[0] = 2;
    body[4] += 3;
    body.extend_from_slice(&[9, 9, 9]);
    body.extend_from_slice(&known[HEADER_LEN + 4..]);
    assert_eq!(
        decode(&mut raw(FrameType::Upcall.into(), &body)),
        Ok(Some((7, Message::Upcall(vec![item.clone(), item]))))
    );
}

#[test]
fn an_oversized_frame_is_refused_by_its_header() {
    let mut buf = BytesMut::from(&[1, 0, 16, 0, 3, 0, 0, 0, 5, 0, 0, 0][..]);
    let error = DecodeError::FrameTooLarge { tag: 5, body_len: MAX_BODY + 1, limit: MAX_BODY };
    assert_eq!(decode(&mut buf), Err(error));
    assert_eq!((error.code(), error.tag()), (Code::FrameTooLarge, 5));
    let mut small = raw(FrameType::Ping.into(), &[0; 10]);
    assert!(matches!(take_frame(&mut small, 9), Err(DecodeError::FrameTooLarge { limit: 9, .. })));
}

#[test]
fn a_count_beyond_the_body_is_malformed() {
    for kind in [FrameType::Register, FrameType::Registered, FrameType::Unregister, FrameType::Unregistered]
        .into_iter()
        .chain([FrameType::Renew, FrameType::Renewed, FrameType::Upcall])
    {
        let error = decode(&mut raw(kind.into(), &u32::MAX.to_le_bytes())).expect_err("no item is there");
        assert_eq!((error.tag(), error.code()), (7, Code::Malformed), "{kind}");
    }
}

#[test]
fn a_message_that_does_not_fit_leaves_the_buffer_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let huge = Message::Event("x".repeat(MAX_BODY as usize + 1));
    assert_eq!(encode(&huge, 1, &mut out), Err(EncodeError::BodyTooLarge(MAX_BODY as usize + 1)));
    let long = messages::register(Target::Path(vec![b'/'; 70_000]));
    assert!(matches!(encode(&long, 1, &mut out), Err(EncodeError::FieldTooLong { len: 70_000, .. })));
    let ping = Message::Ping(Bytes::from_static(&[0; 65]));
    assert!(matches!(encode(&ping, 1, &mut out), Err(EncodeError::FieldTooLong { len: 65, .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let message = Message::Error { code: Code::Internal, message: "é".repeat(MAX_TEXT) + "x" };
    match decode(&mut frame(&message, 0)) {
        Ok(Some((0, Message::Error { message, .. }))) => assert_eq!(message, "é".repeat(MAX_TEXT / 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_bounded_and_an_empty_one_is_nothing() {
    let item = UpcallItem { attrs: Some(Default::default()), ..item() };
    let mut out = BytesMut::new();
    assert_eq!(UpcallBatch::begin(&mut out).finish(), 0);
    assert!(out.is_empty());
    let mut batch = UpcallBatch::begin(&mut out);
    let mut taken = 0;
    while batch.push(&item) {
        taken += 1;
    }
    assert_eq!((taken, batch.finish()), (MAX_UPCALLS, MAX_UPCALLS));
    assert!(
        matches!(decode(&mut out), Ok(Some((0, Message::Upcall(items)))) if items.len() == MAX_UPCALLS as usize)
    );
}

#[test]
fn descriptors_are_counted_by_the_highest_place() {
    let Message::Register(items) = messages::register(Target::Descriptor(4)) else { unreachable!() };
    assert_eq!(upcall_common::wire::descriptors(&items), 5);
    assert_eq!(upcall_common::wire::descriptors(&[]), 0);
}

#[test]
fn numbers_and_names_are_distinct() {
    let all: Vec<(u16, &str)> = Code::ALL.iter().map(|code| (u16::from(*code), code.as_str())).collect();
    for (place, (number, name)) in all.iter().enumerate() {
        assert_eq!(usize::from(*number), place);
        assert_eq!(all.iter().filter(|(_, other)| other == name).count(), 1);
    }
    assert_eq!(Code::from(999), Code::Unrecognised(999));
    assert_eq!(Header::peek(&[0; HEADER_LEN - 1]), None);
}
