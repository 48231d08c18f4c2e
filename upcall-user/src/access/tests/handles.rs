use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::statfs::{EXT4_SUPER_MAGIC, statfs};
use smallvec::smallvec;

use super::tree::*;
use crate::access::inode::{identity, same};
use crate::access::{AccessError, Exports, FileHandle, Principal, Resolved, Target, resolve, verify_handle};
use crate::sys::handle::handle_of;

fn by_handle(
    exports: &Exports,
    principal: &Principal,
    anchor: &Path,
    handle: &FileHandle,
) -> Result<Resolved, AccessError> {
    let FileHandle { handle_type, bytes } = handle.clone();
    resolve(
        exports,
        principal,
        &Target::Handle { anchor: anchor.to_owned(), handle_type, bytes: bytes.into_vec() },
    )
}

fn handle(path: &Path) -> FileHandle {
    handle_of(File::open(path).unwrap().as_fd()).unwrap().unwrap()
}

/// Root, and a filesystem with handles behind the temporary directory.
fn cannot_run() -> bool {
    if needs_root() {
        return true;
    }
    let none = handle_of(File::open(std::env::temp_dir()).unwrap().as_fd()).unwrap().is_none();
    if none {
        skipped("the filesystem of the temporary directory has no file handles");
    }
    none
}

#[test]
fn a_handle_is_the_file_and_permissions_count_on_its_path() {
    if cannot_run() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let public = tree.file("root/public", 0o644);
    let private = tree.file("root/private", 0o600);
    tree.dir("root/closed", 0o700);
    let hidden = tree.file("root/closed/public", 0o644);
    let exports = export(&[&root]);
    let found = by_handle(&exports, &user(SOMEBODY), &root, &handle(&public)).unwrap();
    assert_eq!(found.path().as_deref(), Some(public.as_path()));
    assert_eq!(found.handle, Some(handle(&public)));
    for path in [&private, &hidden] {
        let refused = by_handle(&exports, &user(SOMEBODY), &root, &handle(path)).unwrap_err();
        assert!(!refused.to_string().contains("closed"), "tells a path: {refused}");
        assert_eq!(outcome(Err(refused)), "not permitted");
        assert_eq!(outcome(by_handle(&exports, &operator(), &root, &handle(path))), "ok");
    }
    assert_eq!(outcome(by_handle(&exports, &user(SOMEBODY), &root, &handle(&root))), "ok");
    // A file may be the anchor as well.
    assert_eq!(outcome(by_handle(&exports, &user(SOMEBODY), &public, &handle(&public))), "ok");
}

#[test]
fn a_handle_of_an_inode_outside_every_export_is_refused() {
    if cannot_run() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let single = tree.file("single", 0o644);
    let outside = tree.file("outside", 0o644);
    let exports = export(&[&root, &single]);
    for principal in [operator(), user(SOMEBODY)] {
        assert_eq!(outcome(by_handle(&exports, &principal, &root, &handle(&outside))), "not exported");
        assert_eq!(outcome(by_handle(&exports, &principal, &outside, &handle(&outside))), "not exported");
        assert_eq!(outcome(by_handle(&exports, &principal, &single, &handle(&single))), "ok");
        assert_eq!(outcome(by_handle(&exports, &principal, &single, &handle(&outside))), "not exported");
    }
}

#[test]
fn a_handle_of_a_deleted_file_is_stale() {
    if cannot_run() {
        return;
    }
    let mut tree = Tree::new();
    for root in [tree.dir("root", 0o755), tree.tmpfs("tmpfs")] {
        let file = root.join("file");
        fs::write(&file, "").unwrap();
        let gone = handle(&file);
        let exports = export(&[&root]);
        drop(verify_handle(&exports, 0, &gone).unwrap());
        fs::remove_file(&file).unwrap();
        assert_eq!(outcome(by_handle(&exports, &operator(), &root, &gone)), "stale handle");
        assert!(matches!(verify_handle(&exports, 0, &gone), Err(AccessError::StaleHandle(_))));
    }
}

#[test]
fn a_handle_of_another_filesystem_is_stale() {
    if cannot_run() {
        return;
    }
    if statfs(&std::env::temp_dir()).unwrap().filesystem_type() != EXT4_SUPER_MAGIC {
        skipped("the temporary directory is not on ext4");
        return;
    }
    let mut tree = Tree::new();
    let (ext4, tmpfs) = (tree.dir("ext4", 0o755), tree.tmpfs("tmpfs"));
    let (on_ext4, on_tmpfs) = (tree.file("ext4/file", 0o644), tree.file("tmpfs/file", 0o644));
    let exports = export(&[&ext4, &tmpfs]);
    let tried =
        |anchor: &Path, file: &Path| outcome(by_handle(&exports, &user(SOMEBODY), anchor, &handle(file)));
    assert_eq!(tried(&ext4, &on_ext4), "ok");
    assert_eq!(tried(&tmpfs, &on_tmpfs), "ok");
    assert_eq!(tried(&ext4, &on_tmpfs), "stale handle");
    assert_eq!(tried(&tmpfs, &on_ext4), "stale handle");
}

#[test]
fn a_file_mounted_below_the_root_has_a_handle_but_not_one_for_the_root() {
    if cannot_run() {
        return;
    }
    let mut tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let below = tree.tmpfs("root/below");
    let file = tree.file("root/below/file", 0o644);
    let exports = export(&[&root]);
    let found = by_path(&exports, &operator(), &file).unwrap();
    assert_eq!(found.handle, None);
    assert_eq!(outcome(by_handle(&exports, &operator(), &below, &handle(&file))), "ok");
}

#[test]
fn without_a_path_only_an_operator_is_served_and_only_on_a_whole_filesystem() {
    if cannot_run() {
        return;
    }
    let mut tree = Tree::new();
    let whole = tree.tmpfs("whole");
    let part = tree.dir("whole/part", 0o755);
    let bound = tree.bind(&part, "bound");
    let file = tree.file("whole/part/file", 0o644);
    let handle = handle(&file);
    // Deleted but open: the inode lives, its path does not.
    let _open = File::open(&file).unwrap();
    let deleted = || fs::remove_file(&file);
    let exports = export(&[&whole]);
    assert!(exports.roots()[0].is_whole_filesystem());
    deleted().unwrap();
    let found = by_handle(&exports, &operator(), &whole, &handle).unwrap();
    assert_eq!(found.path(), None);
    assert_eq!(outcome(by_handle(&exports, &user(SOMEBODY), &whole, &handle)), "not exported");
    for root in [&part, &bound] {
        let exports = export(&[root]);
        assert!(!exports.roots()[0].is_whole_filesystem());
        assert_eq!(outcome(by_handle(&exports, &operator(), root, &handle)), "not exported");
    }
}

#[test]
fn a_handle_that_the_kernel_has_not_seen_yet_has_no_path() {
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let image = tree.path("image");
    let Some(first) = tree.ext4(&image, "first") else {
        return skipped("needs mkfs.ext4 and loop devices");
    };
    let dir = tree.dir("first/dir", 0o755);
    let (of_file, of_dir) = (handle(&tree.file("first/dir/file", 0o644)), handle(&dir));
    tree.unmount(&first);
    let whole = tree.ext4(&image, "again").unwrap();
    let part = whole.join("dir");
    let exports = export(&[&part]);
    let outside = by_handle(&exports, &operator(), &part, &of_file);
    assert_eq!(outcome(outside), "not exported", "part of a filesystem");
    drop(exports);
    let exports = export(&[&whole]);
    assert_eq!(outcome(by_handle(&exports, &user(SOMEBODY), &whole, &of_file)), "not exported");
    let found = by_handle(&exports, &operator(), &whole, &of_file).unwrap();
    assert_eq!((found.path(), found.handle.as_ref()), (None, Some(&of_file)));
    drop(found.fd);
    // The kernel finds the way to a directory by itself.
    let found = by_handle(&exports, &user(SOMEBODY), &whole, &of_dir).unwrap();
    assert_eq!(found.path(), Some(part.clone()));
    // And once somebody has looked up the file, the way to it is known.
    fs::metadata(part.join("file")).unwrap();
    assert_eq!(outcome(by_handle(&exports, &user(SOMEBODY), &whole, &of_file)), "ok");
}

#[test]
fn an_anchor_must_be_reachable_and_have_handles() {
    if cannot_run() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let public = tree.file("root/public", 0o644);
    let closed = tree.dir("root/closed", 0o700);
    let handle = handle(&public);
    let exports = export(&[&root, "/proc".as_ref()]);
    let tried = |anchor: &Path| outcome(by_handle(&exports, &user(SOMEBODY), anchor, &handle));
    assert_eq!(tried(&closed.join("missing")), "not permitted");
    assert_eq!(tried(&root.join("missing")), "not found");
    assert_eq!(tried("/etc".as_ref()), "not exported");
    assert_eq!(tried("/proc/sys".as_ref()), "unsupported");
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    assert_eq!(tried(&root.join("fifo")), "bad target");
}

#[test]
fn nonsense_for_a_handle_is_refused() {
    if cannot_run() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let exports = export(&[&root]);
    for (handle_type, length, wanted) in [
        (1, 0, "bad target"),
        (1, 129, "bad target"),
        (1, 8, "stale handle"),
        (-1, 8, "stale handle"),
        (i32::MAX, 128, "stale handle"),
        (0, 1, "stale handle"),
    ] {
        let handle = FileHandle { handle_type, bytes: smallvec![0xff; length] };
        let tried = outcome(by_handle(&exports, &operator(), &root, &handle));
        assert_eq!(tried, wanted, "type {handle_type} length {length}");
    }
}

#[test]
fn a_verified_handle_is_the_same_inode() {
    if cannot_run() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let file = tree.file("root/file", 0o644);
    let exports = export(&[&root, &file]);
    for (name, export) in [(root.join("renamed"), 0), (file.clone(), 1)] {
        let found = by_path(&exports, &operator(), &file).unwrap();
        fs::rename(&file, &name).unwrap();
        let again = verify_handle(&exports, export, &found.handle.unwrap()).unwrap();
        assert!(same(again.as_fd(), found.fd.as_fd()).unwrap());
        assert_eq!(identity(&again).unwrap(), identity(&found.fd).unwrap());
        fs::rename(&name, &file).unwrap();
    }
    fs::rename(&file, root.join("renamed")).unwrap();
    let moved = verify_handle(&exports, 1, &handle(&root.join("renamed")));
    assert!(matches!(moved, Err(AccessError::NotExported(_))), "an export that is not where it was");
    fs::rename(root.join("renamed"), &file).unwrap();
    let exports = export(&[&root]);
    assert!(matches!(verify_handle(&exports, 1, &handle(&file)), Err(AccessError::NotExported(_))));
}
