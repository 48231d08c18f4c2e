use std::fs;
use std::sync::mpsc;
use std::thread;

use nix::unistd::geteuid;

use super::*;
use crate::sys::testing::needs_root;

/// What /proc says of this thread's ids, groups and capabilities.
fn of_this_thread() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status
        .lines()
        .filter(|line| ["Uid:", "Gid:", "Groups:", "Cap"].iter().any(|key| line.starts_with(key)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_thread_changes_and_is_restored_while_others_are_untouched() {
    if needs_root() {
        return;
    }
    let before = of_this_thread();
    let (ask, asked) = mpsc::channel::<()>();
    let (answer, answered) = mpsc::channel();
    let other = thread::spawn(move || {
        while asked.recv().is_ok() {
            answer.send(of_this_thread()).unwrap();
        }
    });

    let guard = Impersonation::enter(4321, 4322, &[70001, 70002]).unwrap();
    let during = of_this_thread();
    ask.send(()).unwrap();
    assert_eq!(answered.recv().unwrap(), before, "the other thread keeps its credentials");
    drop(guard);

    let line = |key: &str| during.iter().find(|line| line.starts_with(key)).unwrap().clone();
    assert!(line("Uid:").ends_with("\t4321"), "{during:?}");
    assert!(line("Uid:").starts_with("Uid:\t0\t0\t0"), "no signals from the user: {during:?}");
    assert!(line("Gid:").ends_with("\t4322"), "{during:?}");
    assert!(line("Groups:").contains("70001 70002"), "{during:?}");
    assert!(line("CapEff:").ends_with("0000000000000000"), "{during:?}");
    assert_eq!(of_this_thread(), before, "restored exactly");

    drop(ask);
    other.join().unwrap();
}

#[test]
fn a_panic_restores_the_thread() {
    if needs_root() {
        return;
    }
    let before = of_this_thread();
    let caught = std::panic::catch_unwind(|| {
        let _guard = Impersonation::enter(4321, 4322, &[]).unwrap();
        panic!("on purpose");
    });
    assert!(caught.is_err());
    assert_eq!(of_this_thread(), before);
}

#[test]
fn a_failed_change_leaves_nothing_behind() {
    if needs_root() {
        return;
    }
    let before = of_this_thread();
    // No user has this id, so the kernel leaves fsuid as it was, after groups and fsgid have changed.
    assert!(Impersonation::enter(u32::MAX, 4322, &[70001]).is_err() || geteuid().as_raw() == u32::MAX);
    let too_many = vec![1; 65537];
    assert!(Impersonation::enter(4321, 4322, &too_many).is_err());
    assert_eq!(of_this_thread(), before);
}

#[test]
fn without_privilege_it_is_refused() {
    if !geteuid().is_root() {
        assert_eq!(Impersonation::enter(4321, 4322, &[]).err().unwrap().raw_os_error(), Some(libc::EPERM));
        return;
    }
    // In a thread of its own that gives up its capabilities for good.
    let outcome = thread::spawn(|| {
        Capabilities([CapabilityHalf::default(); 2]).apply().unwrap();
        Impersonation::enter(4321, 4322, &[]).err().unwrap().raw_os_error()
    });
    assert_eq!(outcome.join().unwrap(), Some(libc::EPERM));
}
