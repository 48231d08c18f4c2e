//! The hub against the model kernel.

mod adopt;
mod gone;
mod joined;
mod names;
mod register;
mod under_way;

use std::{
    fs::File,
    future::Future,
    os::fd::AsFd,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use upcall_common::{
    abi::{BUSY_WRITER, Word},
    change::{ANY, DATA, EARLY, EXPIRED, FORGET, MODE, NLINK, OTHER, SIZE, TIMES, VOLATILE},
};

use super::{model::Model, *};

const TICK: u64 = 4;
const VOLATILE_PAUSE: u64 = 100;
const GRACE: Duration = Duration::from_secs(60);
const OTHER_PROCESS: u32 = 4000;

struct Bench {
    model: Model,
    hub: Hub,
    files: Vec<File>,
}

fn limits() -> Limits {
    Limits { clients: 10, interests_per_client: 100 }
}

fn pace() -> Pace {
    Pace { tick: TICK, volatile: Some(Duration::from_nanos(VOLATILE_PAUSE)), grace: GRACE }
}

impl Bench {
    fn new(slots: usize, early: bool) -> Self {
        Self::skipping(slots, early, None)
    }

    /// Under a safety net, after so many hooks have been skipped.
    fn skipping(slots: usize, early: bool, skipped: Option<u64>) -> Self {
        let (model, memory) = Model::new(slots, early);
        model.world.lock().expect("world").skipped = skipped;
        let hub = Hub::new(Box::new(model.clone()), memory, pace(), limits());
        Self { model, hub, files: Vec::new() }
    }

    /// A client whose process is this one.
    fn client(&self) -> ClientIndex {
        let own = std::process::id();
        let pidfd = crate::sys::peer::pidfd_open(own as i32).expect("pidfd");
        let info = ClientInfo { name: "test".into(), address: "unix".into(), uid: 0, pid: own };
        self.hub.connect(info, Some(Process::new(own, pidfd))).expect("room").0
    }

    fn file(&mut self, ino: u64) -> usize {
        let file = File::open("/dev/null").expect("file");
        self.model.add_inode(file.as_fd(), ino);
        self.files.push(file);
        self.files.len() - 1
    }

    fn watch(
        &self,
        client: ClientIndex,
        file: usize,
        cookie: u64,
        mask: u32,
    ) -> Result<Registered, RegisterError> {
        let file = self.files[file].as_fd();
        let wish = Wish { cookie, mask, include_own: false };
        self.hub.register_one(client, file, wish, None, 0)
    }

    /// One with room for 4 inodes, of which a client watches the one with number 1, with cookie 10.
    fn watching(early: bool, mask: u32) -> (Self, usize, ClientIndex) {
        let mut bench = Self::new(4, early);
        let (file, client) = (bench.file(1), bench.client());
        bench.watch(client, file, 10, mask).expect("watch");
        (bench, file, client)
    }

    fn dispatch(&self) {
        self.hub.dispatch(self.model.take_dirty());
    }

    fn pass(&self, ticks: u64) {
        self.model.world.lock().expect("world").now += ticks * TICK;
    }

    /// What is due when the tick is over.
    fn settle(&self) {
        self.pass(1);
        self.hub.tick();
    }

    /// Whether the dispatcher has been woken to look at the schedule since this was last asked.
    fn rescheduled(&self) -> bool {
        pin!(self.hub.rescheduled()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn told(&self, client: ClientIndex) -> Vec<(u64, u32)> {
        self.hub
            .take_upcalls(client, 100, u64::MAX)
            .into_iter()
            .map(|upcall| (upcall.cookie, upcall.changes))
            .collect()
    }
}

fn by_other(changes: u32) -> Word {
    Word::of_process(changes, OTHER_PROCESS)
}

#[test]
fn a_change_reaches_those_interested_and_nobody_else() {
    let mut bench = Bench::new(4, false);
    let (a, b) = (bench.file(1), bench.file(2));
    let (one, two) = (bench.client(), bench.client());
    bench.watch(one, a, 10, ANY).expect("watch");
    bench.watch(two, b, 20, ANY).expect("watch");
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(one), [(10, DATA)]);
    assert_eq!(bench.told(two), []);
}

#[test]
fn a_mask_filters_but_never_the_end_of_an_inode() {
    let (bench, _, client) = Bench::watching(false, MODE);
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), []);
    bench.model.mark(1, by_other(FORGET));
    bench.dispatch();
    let upcalls = bench.hub.take_upcalls(client, 100, u64::MAX);
    assert_eq!((upcalls[0].changes, upcalls[0].ended), (FORGET, true));
    assert_eq!(bench.hub.status().slots_used, 0, "its slot is free");
}

#[test]
fn own_changes_are_left_out_unless_somebody_else_took_part() {
    let (bench, _, client) = Bench::watching(false, ANY);
    let own = Word::of_process(DATA, std::process::id());
    bench.model.mark(1, own);
    bench.dispatch();
    assert_eq!(bench.told(client), []);
    bench.model.mark(1, own);
    bench.model.mark(1, by_other(MODE));
    bench.dispatch();
    assert_eq!(bench.told(client), [(10, DATA | MODE)]);
    bench.model.mark(1, Word::of_unknown(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), [(10, DATA)]);
}

#[test]
fn every_mark_is_accounted_for() {
    let (bench, _, client) = Bench::watching(true, DATA);
    for round in 0..50_u32 {
        for _ in 0..round % 4 {
            bench.model.mark(1, by_other(if round % 3 == 0 { MODE } else { DATA }));
        }
        bench.dispatch();
        if round % 5 == 0 {
            bench.settle();
        }
        if round % 2 == 0 {
            bench.told(client);
        }
    }
    bench.pass(10);
    bench.hub.tick();
    bench.told(client);
    let status = bench.hub.status();
    let account = status.account;
    assert_eq!(status.kernel.marked + status.totals.retold, account.marked);
    assert_eq!(account.marked, account.delivered + account.coalesced + account.suppressed);
    assert!(account.delivered > 0 && account.coalesced > 0 && account.suppressed > 0, "{account:?}");
}

#[test]
fn a_ring_that_named_nobody_loses_nothing() {
    let mut bench = Bench::new(64, false);
    let client = bench.client();
    for ino in 1..=50 {
        let file = bench.file(ino);
        bench.watch(client, file, ino, ANY).expect("watch");
    }
    for ino in 1..=50 {
        bench.model.mark(ino, by_other(DATA));
    }
    bench.model.take_dirty();
    bench.hub.scan();
    let mut cookies: Vec<_> = bench.told(client).into_iter().map(|(cookie, _)| cookie).collect();
    cookies.sort_unstable();
    assert!(cookies.into_iter().eq(1..=50));
}

#[test]
fn a_barrier_covers_what_the_ring_has_not_said_yet() {
    let (bench, _, client) = Bench::watching(true, ANY);
    bench.model.mark(1, by_other(DATA));
    bench.hub.catch_up(&bench.hub.slots_of(client));
    assert_eq!(bench.told(client), [(10, DATA)]);
    // Within the tick a further write is not marked: the barrier must tell it all the same.
    bench.hub.catch_up(&bench.hub.slots_of(client));
    assert_eq!(bench.told(client), [(10, DATA)]);
}

#[test]
fn an_early_mark_is_told_again_when_the_change_is_visible() {
    let (bench, _, client) = Bench::watching(true, ANY);
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), [(10, DATA)]);
    bench.model.edit(1, |probe| {
        probe.attrs.size = 7;
        probe.busy = BUSY_WRITER;
    });
    bench.settle();
    let first = bench.hub.take_upcalls(client, 100, u64::MAX);
    assert_eq!((first[0].changes, first[0].attrs), (DATA | SIZE, None), "still being written");
    bench.model.edit(1, |probe| probe.busy = 0);
    bench.settle();
    let last = bench.hub.take_upcalls(client, 100, u64::MAX);
    assert_eq!(last[0].attrs.map(|attrs| attrs.size), Some(7));
    bench.pass(100);
    bench.hub.tick();
    assert_eq!(bench.told(client), [], "at rest");
}

#[test]
fn a_stamp_ahead_of_the_clock_keeps_a_slot_unsettled() {
    let (bench, _, client) = Bench::watching(true, ANY);
    bench.model.edit(1, |probe| (probe.attrs.ctime_sec, probe.attrs.ctime_nsec) = (1, 7));
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    bench.settle();
    assert_eq!(bench.told(client), [(10, DATA)]);
    // A write now gets the same stamp and marks nothing.
    bench.settle();
    assert_eq!(bench.told(client), [(10, DATA)]);
    bench.model.world.lock().expect("world").realtime = (1, 8);
    bench.pass(8);
    bench.hub.tick();
    assert_eq!(bench.told(client), [(10, DATA)], "once more, for what was written until the clock got there");
    assert_eq!(bench.hub.status().unsettled, 0);
}

#[test]
fn a_client_that_comes_back_is_told_whether_anything_changed() {
    let mut bench = Bench::new(4, false);
    let file = bench.file(1);
    let (stays, leaves) = (bench.client(), bench.client());
    bench.watch(stays, file, 1, ANY).expect("watch");
    let held = bench.watch(leaves, file, 2, ANY).expect("watch").version;
    bench.hub.disconnect(leaves);
    let again = |version| {
        let client = bench.client();
        let file = bench.files[file].as_fd();
        let wish = Wish { cookie: 2, mask: ANY, include_own: false };
        bench.hub.register_one(client, file, wish, None, version).expect("register").unchanged
    };
    assert!(again(held));
    bench.model.mark(1, by_other(DATA));
    assert!(!again(held), "marked, though not yet dispatched");
    bench.dispatch();
    assert!(!again(held));
}

#[test]
fn another_inode_under_the_same_name_is_a_change() {
    let mut bench = Bench::new(4, false);
    let (before, after) = (bench.file(1), bench.file(2));
    let (stays, leaves) = (bench.client(), bench.client());
    let held = bench.watch(leaves, before, 1, ANY).expect("watch").version;
    bench.watch(stays, after, 2, ANY).expect("watch");
    bench.hub.disconnect(leaves);
    let file = bench.files[after].as_fd();
    let wish = Wish { cookie: 1, mask: ANY, include_own: false };
    let made = bench.hub.register_one(bench.client(), file, wish, None, held).expect("register");
    assert!(!made.unchanged, "the version held is another inode's");
}

#[test]
fn running_out_of_slots_refuses_one_and_harms_nobody() {
    let mut bench = Bench::new(1, false);
    let (a, b) = (bench.file(1), bench.file(2));
    let client = bench.client();
    bench.watch(client, a, 10, ANY).expect("watch");
    assert_eq!(bench.watch(client, b, 20, ANY), Err(RegisterError::NoSlots));
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), [(10, DATA)]);
}

#[test]
fn an_interest_ends_with_its_lifetime() {
    let mut bench = Bench::new(4, false);
    let file = bench.file(1);
    let client = bench.client();
    let made = bench.watch(client, file, 10, ANY).expect("watch");
    bench.hub.renew(client, made.interest, Some(Duration::ZERO)).expect("renew");
    bench.hub.tick();
    let upcalls = bench.hub.take_upcalls(client, 100, u64::MAX);
    assert_eq!((upcalls[0].changes, upcalls[0].ended), (EXPIRED, true));
    assert_eq!(bench.hub.unregister(client, made.interest), Err(NoInterest));
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let mut bench = Bench::new(4, false);
    bench.hub.lock().limits.interests_per_client = 3 * STEP;
    let file = bench.file(1);
    let (client, stays) = (bench.client(), bench.client());
    let lifetime = Some(Duration::from_secs(1000));
    for cookie in 0..2 * STEP as u64 {
        let file = bench.files[file].as_fd();
        let wish = Wish { cookie, mask: ANY, include_own: false };
        bench.hub.register_one(client, file, wish, lifetime, 0).expect("register");
    }
    bench.watch(stays, file, 7, ANY).expect("watch");
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    bench.hub.disconnect(client);
    bench.model.mark(1, by_other(MODE));
    bench.dispatch();
    let mut steps = 0;
    while bench.hub.schedule().settle_in.is_some() {
        bench.hub.tick();
        steps += 1;
    }
    assert!(steps > 2, "in steps");
    let status = bench.hub.status();
    assert_eq!((status.interests, status.slots_used), (1, 1));
    assert_eq!(bench.hub.schedule().expire_at, None, "no lifetime is left");
    assert_eq!(bench.told(stays), [(7, DATA | MODE)]);
    let Account { marked, delivered, coalesced, suppressed, .. } = bench.hub.status().account;
    assert_eq!(marked, delivered + coalesced + suppressed);
}

#[test]
fn a_barrier_does_not_wait_for_what_comes_after_it() {
    let mut bench = Bench::new(4, false);
    let (a, b) = (bench.file(1), bench.file(2));
    let client = bench.client();
    bench.watch(client, a, 10, ANY).expect("watch");
    bench.watch(client, b, 20, ANY).expect("watch");
    bench.model.mark(1, by_other(DATA));
    bench.hub.catch_up(&bench.hub.slots_of(client));
    let last = bench.hub.last_turn(client);
    bench.model.mark(2, by_other(DATA));
    bench.dispatch();
    let before: Vec<u64> =
        bench.hub.take_upcalls(client, 100, last).into_iter().map(|upcall| upcall.cookie).collect();
    assert_eq!(before, [10]);
    assert_eq!(bench.told(client), [(20, DATA)]);
}

#[test]
fn what_only_the_safety_net_saw_is_told_when_the_inode_is_at_rest() {
    let (bench, _, client) = Bench::watching(false, ANY);
    bench.model.net(1, 77);
    bench.dispatch();
    assert_eq!(bench.told(client), [], "a hook may still tell");
    bench.model.edit(1, |probe| probe.busy = BUSY_WRITER);
    bench.settle();
    assert_eq!(bench.told(client), [], "the change is still being made");
    bench.model.edit(1, |probe| probe.busy = 0);
    bench.pass(8);
    bench.hub.tick();
    assert_eq!(bench.told(client), [(10, OTHER)]);
    assert_eq!(bench.hub.status().totals.net_only, 1);
    let Account { marked, delivered, coalesced, suppressed, .. } = bench.hub.status().account;
    assert_eq!((marked, delivered + coalesced + suppressed), (1, 1));
}

#[test]
fn what_a_hook_told_of_is_not_told_again_for_the_safety_net() {
    let (bench, _, client) = Bench::watching(false, ANY);
    bench.model.net(1, 77);
    bench.dispatch();
    bench.model.hooked(1, 77, by_other(DATA));
    bench.dispatch();
    bench.settle();
    assert_eq!(bench.told(client), [(10, DATA)]);
    // Both in one look.
    bench.model.net(1, 77);
    bench.model.hooked(1, 77, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), [(10, DATA)]);
    bench.settle();
    assert_eq!(bench.told(client), []);
    assert_eq!((bench.hub.status().totals.net_only, bench.hub.status().unsettled), (0, 0));
}

#[test]
fn a_file_that_is_mapped_writable_is_told_of_until_it_is_not() {
    for early in [false, true] {
        let (bench, _, client) = Bench::watching(early, ANY | VOLATILE);
        bench.model.edit(1, |probe| probe.mapped = 1);
        bench.model.mark(1, by_other(DATA | VOLATILE | EARLY));
        bench.dispatch();
        assert_eq!(bench.told(client), [(10, DATA | VOLATILE)], "at once");
        bench.settle();
        assert_eq!(bench.told(client), [(10, DATA | VOLATILE)], "when the store has been made");
        let status = bench.hub.status();
        assert_eq!((status.unsettled, status.resting), (0, 1));
        for _ in 0..3 {
            bench.pass(VOLATILE_PAUSE);
            bench.hub.tick();
            assert_eq!(bench.told(client), [(10, DATA | TIMES | VOLATILE)]);
        }
        bench.model.edit(1, |probe| probe.mapped = 0);
        bench.pass(VOLATILE_PAUSE);
        bench.hub.tick();
        assert_eq!(bench.told(client), [(10, DATA | TIMES)], "the last one");
        bench.pass(VOLATILE_PAUSE);
        bench.hub.tick();
        assert_eq!((bench.told(client), bench.hub.status().resting), (vec![], 0));
    }
}

#[test]
fn a_file_of_an_overlay_follows_the_inode_below_once_it_is_copied_up() {
    let mut bench = Bench::new(4, true);
    let file = bench.file(1);
    bench.model.edit(1, |probe| (probe.overlay, probe.faithful) = (1, 0));
    let client = bench.client();
    let made = bench.watch(client, file, 10, ANY).expect("watch");
    assert_eq!(made.attrs, None, "an overlay's inode may lag behind");
    bench.pass(Duration::from_secs(1).as_nanos() as u64);
    bench.hub.tick();
    assert_eq!(bench.told(client), [], "not copied up: nothing to tell");
    let below = Key::new(9, 9);
    bench.model.edit(1, |probe| probe.upper = below);
    bench.pass(Duration::from_secs(1).as_nanos() as u64);
    bench.hub.tick();
    let told = bench.told(client);
    assert!(
        matches!(told[..], [(10, changes)] if changes & OTHER != 0),
        "it may have been changed: {told:?}"
    );
    let aliases = || bench.model.world.lock().expect("world").aliases.clone();
    assert_eq!(aliases().into_keys().collect::<Vec<_>>(), [below]);
    assert_eq!(bench.hub.status().resting, 0);
    bench.hub.unregister(client, made.interest).expect("unregister");
    assert!(aliases().is_empty());
}

#[test]
fn what_a_skipped_hook_may_have_seen_is_told_when_the_inode_is_at_rest() {
    let mut bench = Bench::new(4, false);
    let skip = |count| bench.model.world.lock().expect("world").skipped = Some(count);
    skip(0);
    let model = bench.model.clone();
    let (file, other) = (bench.file(1), bench.file(2));
    let client = bench.client();
    bench.watch(client, file, 10, ANY).expect("watch");
    bench.watch(client, other, 20, ANY).expect("watch");
    let round = |bench: &mut Bench| {
        model.net(1, 77);
        bench.dispatch();
        model.hooked(1, 77, by_other(DATA));
        bench.dispatch();
        assert_eq!(bench.told(client), [(10, DATA)]);
    };
    round(&mut bench);
    // A second write of the same tick: the net sees none, and its hook is skipped.
    model.world.lock().expect("world").skipped = Some(1);
    bench.settle();
    assert_eq!(bench.told(client), [(10, OTHER)], "only what the net has seen in this tick");
    round(&mut bench);
    bench.settle();
    assert_eq!(bench.told(client), [], "no hook has been skipped since");
}

/// What is marked before the first look at the counts counts from the start of the programs.
#[test]
fn a_hook_is_known_to_be_skipped_from_the_start() {
    for (skipped, told) in [(0, vec![]), (1, vec![(10, OTHER)])] {
        let mut bench = Bench::skipping(4, false, Some(skipped));
        let (file, client) = (bench.file(1), bench.client());
        bench.watch(client, file, 10, ANY).expect("watch");
        bench.model.net(1, 77);
        bench.dispatch();
        bench.model.hooked(1, 77, by_other(DATA));
        bench.dispatch();
        assert_eq!(bench.told(client), [(10, DATA)]);
        bench.settle();
        assert_eq!(bench.told(client), told, "{skipped} skipped");
    }
}

#[test]
fn the_dispatcher_is_woken_by_interests_that_bring_an_appointment_forward_and_by_no_others() {
    let mut bench = Bench::new(4, true);
    let files = [1, 2, 3, 4].map(|ino| bench.file(ino));
    let client = bench.client();
    let register = |file: usize, lifetime: Option<u64>| {
        let file = bench.files[file].as_fd();
        let wish = Wish { cookie: 0, mask: ANY, include_own: false };
        bench.hub.register_one(client, file, wish, lifetime.map(Duration::from_secs), 0).expect("registered");
        bench.rescheduled()
    };
    assert!(!register(files[0], None));
    assert!(register(files[1], Some(20)), "the first lifetime");
    assert!(!register(files[2], Some(30)), "one that ends later");
    assert!(register(files[3], Some(10)), "one that ends earlier");
    bench.model.edit(4, |probe| probe.busy = BUSY_WRITER);
    assert!(register(files[3], None), "the first inode to be looked at");
    bench.model.edit(3, |probe| probe.busy = BUSY_WRITER);
    assert!(!register(files[2], None), "one to be looked at no earlier");
}
