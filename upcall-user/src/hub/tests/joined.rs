//! The daemon as a client of its own hub.

use upcall_common::abi::Originator;

use super::*;

/// What waits for the daemon of a file that these have changed.
fn told(marks: &[(u32, u32)]) -> Option<Provenance> {
    let mut bench = Bench::new(4, false);
    for _ in 0..limits().clients {
        bench.client();
    }
    let info = ClientInfo { name: "test".into(), address: "internal".into(), uid: 0, pid: 0 };
    assert!(bench.hub.connect(info.clone(), None).is_none(), "there is room for another client");
    let (joined, _) = bench.hub.join(info);
    let file = bench.file(7);
    bench.watch(joined, file, 1, DATA | MODE | TIMES).expect("registered");
    for (changes, tgid) in marks {
        bench.model.mark(7, Word::of_process(*changes, *tgid));
        bench.dispatch();
    }
    let mut upcalls = bench.hub.take_upcalls(joined, 2, u64::MAX);
    assert_eq!(upcalls.len(), 1);
    upcalls.pop().and_then(|upcall| upcall.provenance)
}

#[test]
fn it_is_told_by_whom_all_that_waits_was_made_and_what_came_without_data() {
    let made = |originator, apart| Some(Provenance { originator, apart });
    assert_eq!(told(&[(DATA | TIMES, 5), (DATA, 5)]), made(Originator::Process(5), 0));
    assert_eq!(told(&[(DATA | TIMES, 5), (TIMES, 5)]), made(Originator::Process(5), TIMES));
    assert_eq!(told(&[(MODE, 5), (DATA, 6)]), made(Originator::Unknown, MODE));
}
