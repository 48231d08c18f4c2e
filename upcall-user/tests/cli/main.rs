//! Subcommands that hold something, against a scripted daemon.

mod fake;

use upcall_common::wire::*;

use self::fake::Run;

const CLOSED: StateRequest = StateRequest::Close(Close { open: 7 });

fn leased(code: Code) -> StateAnswer {
    StateAnswer::Leased(Leased { code, flags: GrantFlags::default(), text: String::from("by b") })
}

fn locked(code: Code, request: u64) -> StateAnswer {
    StateAnswer::Locked(Locked { code, flags: GrantFlags::default(), request, text: String::new() })
}

fn recall() -> StateUpcall {
    let (held, keep, who) = (LeaseKind::Write, Keep::None, Who::Process(42));
    let lease_id = LeaseId::default();
    StateUpcall::Recall(Recall { open: 7, cookie: 0, lease_id, held, keep, deadline_ms: 60_000, who })
}

fn types(out: &str) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    out.lines().map(|text| line(text)["type"].as_str().expect("a type").to_owned()).collect()
}

#[test]
fn without_the_feature_they_say_what_to_enable() {
    for args in [
        &["lock", "/srv/a"][..],
        &["share", "/srv/a", "--access", "r", "--deny", "w"],
        &["watch", "/srv/a", "--lease", "read"],
        &["status", "--state"],
    ] {
        let ended = Run::start(0, args).end();
        assert_eq!(ended.code, Some(1), "{args:?}");
        assert!(ended.err.contains("leases = true"), "{args:?}: {}", ended.err);
    }
}

#[test]
fn a_lock_is_held_while_the_command_runs() {
    let range = ["--range", "10:20", "--wait"];
    let args = [&["lock", "/srv/a"][..], &range, &["--", "sh", "-c", "echo out; exit 7"]].concat();
    let mut run = Run::begin(&args);
    let open = run.open();
    assert_eq!(
        (open.access, open.deny, open.target),
        (Access::Both, Deny::None, Target::Path(b"/srv/a".to_vec()))
    );
    let terms = Terms { wait: true, ..Terms::default() };
    let lock = Lock { open: 7, owner: 0, start: 10, length: 20, kind: LockKind::Write, terms };
    assert_eq!(run.answer(locked(Code::Waiting, 3)), StateRequest::Lock(lock));
    let (flags, text) = (GrantFlags::default(), String::new());
    run.upcall(StateUpcall::LockGranted(LockGranted {
        request: 3,
        code: Code::Ok,
        flags,
        open: 7,
        owner: 0,
        text,
    }));
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!((ended.code, &*ended.out), (Some(7), "out\n"), "{}", ended.err);
}

#[test]
fn a_lock_that_is_refused_runs_nothing() {
    let mut run = Run::begin(&["lock", "--read", "/srv/a", "--", "echo", "out"]);
    assert_eq!(run.open().access, Access::Read);
    run.answer(locked(Code::Conflict, 0));
    // The open would outlive it by the grace.
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert!(ended.err.contains("cannot lock /srv/a") && ended.err.contains("conflict"), "{}", ended.err);
}

#[test]
fn a_share_says_what_it_denies_and_that_it_is_advisory() {
    let mut run = Run::begin(&["share", "--access", "rw", "--deny", "w", "/srv/a", "--advisory", "--json"]);
    let open = run.open();
    assert_eq!((open.access, open.deny, open.terms.advisory_ok), (Access::Both, Deny::Write, true));
    let revoked = Revoked { open: 7, cookie: 0, lease_id: LeaseId::default(), kind: LeaseKind::Read };
    run.upcall(StateUpcall::Revoked(revoked));
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!((ended.code, types(&ended.out)), (Some(1), vec!["opened".to_owned(), "revoked".to_owned()]));
    assert!(ended.out.contains("\"advisory\":true"), "{}", ended.out);
    assert!(ended.err.contains("not held to the end"), "{}", ended.err);
}

#[test]
fn a_lease_that_is_refused_or_revoked_leaves_no_open() {
    let mut run = Run::begin(&["watch", "--lease", "read", "/srv/a"]);
    run.open();
    run.answer(leased(Code::Recalling));
    assert_eq!(run.done(), CLOSED);
    assert_eq!(run.end().code, Some(1));
    let mut run = Run::begin(&["watch", "--lease", "read", "/srv/a"]);
    run.open();
    run.answer(leased(Code::Ok));
    let revoked = Revoked { open: 7, cookie: 0, lease_id: LeaseId::default(), kind: LeaseKind::Read };
    run.upcall(StateUpcall::Revoked(revoked));
    assert_eq!(run.done(), CLOSED);
    assert_eq!(run.end().code, Some(1));
}

#[test]
fn a_signal_ends_what_still_waits() {
    let mut run = Run::begin(&["lock", "/srv/a", "--wait", "--", "echo", "out"]);
    run.open();
    run.answer(locked(Code::Waiting, 3));
    run.terminate();
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!((ended.code, &*ended.out), (Some(143), ""), "{}", ended.err);
    let mut run = Run::begin(&["share", "/srv/a", "--access", "r", "--deny", "w", "--wait"]);
    let (code, flags, text) = (Code::Waiting, GrantFlags::default(), String::new());
    run.answer(StateAnswer::Opened(Opened { code, flags, open: 0, file: 0, request: 3, text }));
    run.terminate();
    assert_eq!(run.end().code, Some(143));
}

#[test]
fn a_recalled_lease_is_returned_at_once() {
    let mut run = Run::begin(&["watch", "--lease", "write", "/srv/a", "--json"]);
    assert_eq!(run.open().access, Access::Both);
    let terms = Terms::default();
    let lease = StateRequest::Lease(Lease { open: 7, kind: LeaseKind::Write, terms });
    assert_eq!(run.answer(leased(Code::Ok)), lease);
    run.upcall(recall());
    let (kind, keep) = (LeaseKind::Write, Keep::None);
    assert_eq!(run.done(), StateRequest::Return(Return { open: 7, kind, keep }));
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(types(&ended.out), ["leased", "recall", "returned"]);
    assert!(ended.out.contains("\"pid\":42"), "{}", ended.out);
}

#[test]
fn with_hold_it_is_returned_when_told() {
    let mut run = Run::begin(&["watch", "--lease", "read", "/srv/a", "--hold"]);
    assert_eq!(run.open().access, Access::Read);
    run.answer(leased(Code::Ok));
    assert_eq!(run.line(), "read lease of /srv/a");
    run.upcall(recall());
    // What is said before it has heard of the recall is said of none.
    assert_eq!(run.line(), "recall of the write lease within 60000 ms: local process 42");
    run.say("extend");
    let extended = Extended { code: Code::Ok, deadline_ms: 90_000, text: String::new() };
    let request = run.answer(StateAnswer::Extended(extended));
    assert_eq!(request, StateRequest::Extend(Extend { open: 7 }), "it was returned untold");
    run.say("return");
    assert!(matches!(run.done(), StateRequest::Return(_)));
    assert_eq!(run.done(), CLOSED);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "90000 ms left\nread lease returned\n");
}

#[test]
fn without_a_command_a_signal_gives_it_up() {
    let mut run = Run::begin(&["lock", "/srv/a", "--range", "10:0"]);
    run.open();
    run.answer(locked(Code::Ok, 0));
    assert_eq!(run.line(), "write lock of /srv/a 10:0");
    run.terminate();
    assert_eq!(run.done(), CLOSED);
    assert_eq!(run.end().code, Some(0));
    let mut run = Run::begin(&["watch", "--lease", "write", "/srv/a"]);
    run.open();
    run.answer(leased(Code::Ok));
    assert_eq!(run.line(), "write lease of /srv/a");
    run.terminate();
    assert!(matches!(run.done(), StateRequest::Return(_)));
    assert_eq!(run.done(), CLOSED);
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn a_signal_goes_to_the_command() {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = Run::begin(&["lock", "/srv/a", "--", "sh", "-c", script]);
    run.open();
    run.answer(locked(Code::Ok, 0));
    assert_eq!(run.line(), "ready");
    run.terminate();
    assert_eq!(run.done(), CLOSED);
    assert_eq!(run.end().code, Some(9));
}

#[test]
fn what_is_held_is_shown() {
    let mut run = Run::start(FEATURE_STATE, &["status", "--state", "/srv/a"]);
    let json = r#"{"files":[{"path":"/srv/a","opens":[],"locks":[],"waiting":[]}]}"#;
    let target = Some(Target::Path(b"/srv/a".to_vec()));
    let request = run.answer(StateAnswer::StateShown(StateShown {
        flags: ShownFlags::default(),
        json: Json(json.into()),
    }));
    assert_eq!(request, StateRequest::StateQuery(StateQuery { target }));
    assert_eq!(run.end().out, "/srv/a\n");
}
