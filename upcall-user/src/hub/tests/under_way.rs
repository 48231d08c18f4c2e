//! Changes under way that nobody may mark: they began before there was a slot, or lost the hook at their end.

use super::*;

fn set_busy(bench: &Bench, busy: u32) {
    bench.model.edit(1, |probe| probe.busy = busy);
}

fn cookies(bench: &Bench, client: ClientIndex) -> Vec<u64> {
    bench.told(client).into_iter().map(|(cookie, _)| cookie).collect()
}

#[test]
fn what_is_under_way_at_a_registration_is_told_once_it_is_over() {
    for early in [false, true] {
        let mut bench = Bench::new(4, early);
        let file = bench.file(1);
        let client = bench.client();
        set_busy(&bench, BUSY_WRITER);
        bench.watch(client, file, 10, MODE).expect("watch");
        bench.settle();
        assert_eq!(cookies(&bench, client), [10], "early: {early}");
        set_busy(&bench, 0);
        bench.pass(8);
        bench.hub.tick();
        assert_eq!(cookies(&bench, client), [10], "early: {early}");
        bench.pass(100);
        bench.hub.tick();
        assert_eq!(bench.told(client), [], "at rest; early: {early}");
    }
}

#[test]
fn what_is_under_way_at_a_gap_is_told_once_it_is_over() {
    let mut bench = Bench::new(2 * STEP, false);
    bench.hub.lock().limits.interests_per_client = 2 * STEP;
    let client = bench.client();
    let last = STEP as u64 + 1;
    for ino in 1..=last {
        let file = bench.file(ino);
        bench.watch(client, file, ino, ANY).expect("watch");
    }
    bench.model.edit(last, |probe| probe.busy = BUSY_WRITER);
    assert_eq!(bench.hub.distrust(0), Some(STEP as u32));
    assert!(!bench.rescheduled(), "nothing is under way in the first step");
    assert_eq!(bench.hub.distrust(STEP as u32), None);
    assert!(bench.rescheduled(), "there is a slot to be looked at");
    bench.model.edit(last, |probe| probe.busy = 0);
    bench.settle();
    assert_eq!(cookies(&bench, client), [last]);
}
