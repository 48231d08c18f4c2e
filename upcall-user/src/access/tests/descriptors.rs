use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::tree::*;
use crate::access::{AccessError, Exports, Principal, Resolved, Target, resolve};

fn by_descriptor(
    exports: &Exports,
    principal: &Principal,
    fd: impl Into<OwnedFd>,
) -> Result<Resolved, AccessError> {
    resolve(exports, principal, &Target::Descriptor(fd.into()))
}

#[test]
fn a_descriptor_must_lie_in_an_export() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let (inside, outside) = (tree.file("root/inside", 0o644), tree.file("outside", 0o644));
    let exports = export(&[&root]);
    let found = by_descriptor(&exports, &operator(), File::open(&inside).unwrap()).unwrap();
    assert_eq!(found.path(), Some(inside.clone()));
    let flags = OFlag::from_bits_retain(fcntl(&found.fd, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_PATH), "the peer's open file is not kept");
    assert_eq!(outcome(by_descriptor(&exports, &operator(), File::open(&root).unwrap())), "ok");
    assert_eq!(outcome(by_descriptor(&exports, &operator(), File::open(&outside).unwrap())), "not exported");

    let moved = File::open(&inside).unwrap();
    fs::rename(&inside, tree.path("moved")).unwrap();
    assert_eq!(outcome(by_descriptor(&exports, &operator(), moved)), "not exported");
}

#[test]
fn what_is_no_file_is_unsupported() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let exports = export(&[&root]);
    let (socket, _far) = UnixStream::pair().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(outcome(by_descriptor(&exports, &operator(), socket)), "unsupported");
    assert_eq!(outcome(by_descriptor(&exports, &operator(), OwnedFd::from(reader))), "unsupported");
    assert_eq!(
        outcome(by_descriptor(&exports, &operator(), File::open("/dev/null").unwrap())),
        "unsupported"
    );
    assert_eq!(
        outcome(by_descriptor(&exports, &operator(), File::open("/proc/self/status").unwrap())),
        "not exported"
    );
}

#[test]
fn possession_proves_access_only_if_open_for_reading() {
    if needs_root() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    tree.dir("root/closed", 0o700);
    let private = tree.file("root/closed/private", 0o600);
    let exports = export(&[&root]);
    let somebody = user(SOMEBODY);
    let opened = |options: &mut OpenOptions| {
        let file = options.open(&private).unwrap();
        outcome(by_descriptor(&exports, &somebody, file))
    };
    assert_eq!(opened(OpenOptions::new().read(true)), "ok");
    assert_eq!(opened(OpenOptions::new().read(true).write(true)), "ok");
    assert_eq!(opened(OpenOptions::new().write(true)), "not permitted");
    assert_eq!(opened(OpenOptions::new().append(true)), "not permitted");
    assert_eq!(opened(OpenOptions::new().read(true).custom_flags(libc::O_PATH)), "not permitted");
    // Neither reading nor writing: good for ioctl alone.
    let ioctl_only = nix::fcntl::open(&private, OFlag::O_ACCMODE, Mode::empty()).unwrap();
    assert_eq!(outcome(by_descriptor(&exports, &somebody, ioctl_only)), "not permitted");
    // Then the file itself decides: who holds a descriptor is past the directories.
    give(&private, SOMEBODY, 0);
    assert_eq!(opened(OpenOptions::new().write(true)), "ok");
}

#[test]
fn a_deleted_file_lies_only_in_a_whole_filesystem() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let file = tree.file("root/file", 0o644);
    let exports = export(&[&root]);
    let deleted = File::open(&file).unwrap();
    fs::remove_file(&file).unwrap();
    // The path that the kernel shows for it exists, yet is another file.
    tree.file("root/file (deleted)", 0o644);
    assert_eq!(outcome(by_descriptor(&exports, &operator(), deleted)), "not exported");
    let real = by_path(&exports, &operator(), root.join("file (deleted)")).unwrap();
    assert_eq!(real.path(), Some(root.join("file (deleted)")));
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let whole = tree.tmpfs("whole");
    let file = tree.file("whole/file", 0o644);
    let deleted = File::open(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let found = by_descriptor(&export(&[&whole]), &user(SOMEBODY), deleted).unwrap();
    assert_eq!(found.path(), None);
}

#[test]
fn a_file_opened_through_another_mount_is_found_in_the_export() {
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let inside = tree.dir("root/inside", 0o755);
    let file = tree.file("root/inside/file", 0o600);
    let elsewhere = tree.bind(&inside, "elsewhere");
    let exports = export(&[&root]);
    let found =
        by_descriptor(&exports, &user(SOMEBODY), File::open(elsewhere.join("file")).unwrap()).unwrap();
    assert_eq!(found.path(), Some(file));
    // The other way about: what lies outside the export stays outside, seen from whichever mount.
    let exports = export(&[&elsewhere]);
    let sibling = tree.file("root/sibling", 0o644);
    assert_eq!(outcome(by_descriptor(&exports, &operator(), File::open(sibling).unwrap())), "not exported");
}
