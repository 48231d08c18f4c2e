//! What the codec does with numbers that it does not know, in frames about state held for clients.

use bytes::BytesMut;
use upcall_common::wire::*;

fn decoded(kind: FrameType, body: &[u8]) -> Result<Message, DecodeError> {
    let header = Header { body_len: 0, kind: kind.into(), flags: 0, tag: 7 };
    Message::decode(&header, body.to_vec().into())
}

fn body(message: &Message) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode(message, 7, &mut frame).expect("it fits a frame");
    frame[HEADER_LEN..].to_vec()
}

#[test]
fn a_mode_without_a_meaning_is_malformed() {
    let open = 7_u64.to_le_bytes();
    let change =
        |access: u8, deny: u8| decoded(FrameType::OpenChange, &[&open[..], &[access, deny]].concat());
    for (access, deny) in [(0, 0), (4, 0), (1, 4), (255, 255)] {
        let error = change(access, deny).expect_err("no such mode");
        assert_eq!((error.code(), error.tag()), (Code::Malformed, 7));
    }
    assert!(change(3, 3).is_ok());
}

#[test]
fn flags_without_a_meaning_are_ignored() {
    let terms = Terms { reclaim: true, ..Terms::default() };
    let lease = Message::StateRequest(StateRequest::Lease(Lease { open: 7, kind: LeaseKind::Read, terms }));
    let mut newer = body(&lease);
    *newer.last_mut().expect("the terms") |= 0xf0;
    assert_eq!(decoded(FrameType::Lease, &newer), Ok(lease));
}

#[test]
fn somebody_of_a_newer_kind_is_not_known() {
    let contention = |who| {
        let contention = Contention { open: 1, cookie: 2, owner: 3, start: 4, length: 5, who };
        Message::StateUpcall(StateUpcall::Contention(contention))
    };
    let mut newer = body(&contention(Who::Process(42)));
    newer[40] = 3;
    assert_eq!(decoded(FrameType::Contention, &newer), Ok(contention(Who::Unknown)));
}
