use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;

use super::tree::*;
use crate::access::inode::identity;
use crate::access::{Principal, Target, resolve_batch};

#[test]
fn a_resolved_path_is_the_very_inode_and_knows_its_path_and_export() {
    let tree = Tree::new();
    let (one, two) = (tree.dir("one", 0o755), tree.dir("two", 0o755));
    let file = tree.file("two/file", 0o644);
    let exports = export(&[&one, &two]);
    let found = by_path(&exports, &operator(), &file).unwrap();
    assert_eq!(identity(&found.fd).unwrap().ino, fs::metadata(&file).unwrap().ino());
    assert_eq!((found.path(), found.export), (Some(file), 1));
    assert_eq!(outcome(by_path(&exports, &operator(), &two)), "ok");
    assert_eq!(by_path(&exports, &operator(), two.join(".")).unwrap().path(), Some(two));
}

#[test]
fn nothing_outside_an_export_can_be_named() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    tree.dir("root/sub", 0o755);
    let secret = tree.file("secret", 0o644);
    tree.file("rootless", 0o644);
    symlink("../secret", root.join("relative")).unwrap();
    symlink(&secret, root.join("absolute")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink(tree.path(""), root.join("up")).unwrap();
    let exports = export(&[&root]);
    let tried = |name: &str| outcome(by_path(&exports, &operator(), root.join(name)));
    for name in ["../secret", "sub/../../secret", "relative", "absolute", "up/secret", "magic/etc/passwd"] {
        assert_eq!(tried(name), "not exported", "{name}");
    }
    // Neither does the answer tell what exists there.
    for name in ["../missing", "sub/../../missing", "up/missing"] {
        assert_eq!(tried(name), "not exported", "{name}");
    }
    for path in
        ["/", "/etc/passwd", "/no/such/path"].map(PathBuf::from).into_iter().chain([tree.path("rootless")])
    {
        assert_eq!(outcome(by_path(&exports, &operator(), path)), "not exported");
    }
    assert_eq!(tried("missing"), "not found");
    assert_eq!(tried("sub/.."), "ok");
}

#[test]
fn magic_links_are_not_followed_even_inside() {
    let exports = export(&["/proc".as_ref()]);
    let link = format!("/proc/{}/exe", std::process::id());
    assert_eq!(outcome(by_path(&exports, &operator(), link)), "bad target");
}

#[test]
fn symlinks_that_stay_inside_are_followed() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    tree.dir("root/real", 0o755);
    let file = tree.file("root/real/file", 0o644);
    symlink("real", root.join("relative")).unwrap();
    symlink(root.join("real"), root.join("absolute")).unwrap();
    symlink("absolute", root.join("chain")).unwrap();
    symlink(root.join("loop"), root.join("loop")).unwrap();
    let exports = export(&[&root]);
    for name in ["relative/file", "absolute/file", "chain/file", "real/../chain/file"] {
        let found = by_path(&exports, &operator(), root.join(name)).unwrap();
        assert_eq!(found.path().as_ref(), Some(&file), "{name}");
    }
    assert_eq!(outcome(by_path(&exports, &operator(), root.join("loop"))), "bad target");
}

#[test]
fn a_link_from_one_export_into_another_is_followed() {
    let tree = Tree::new();
    let (one, two) = (tree.dir("one", 0o755), tree.dir("two", 0o755));
    tree.file("two/file", 0o644);
    symlink(&two, one.join("link")).unwrap();
    let exports = export(&[&one, &two]);
    assert_eq!(by_path(&exports, &operator(), one.join("link/file")).unwrap().export, 1);
}

#[test]
fn an_export_can_be_named_by_a_symlink_and_nested() {
    let tree = Tree::new();
    tree.dir("real", 0o755);
    tree.dir("real/inner", 0o755);
    tree.file("real/file", 0o644);
    symlink("real", tree.path("link")).unwrap();
    let exports = export(&[&tree.path("link"), &tree.path("real/inner")]);
    assert_eq!(outcome(by_path(&exports, &operator(), tree.path("link/file"))), "ok");
    assert_eq!(outcome(by_path(&exports, &operator(), tree.path("real/file"))), "ok");
    // Leaves the inner export, but not the outer one.
    assert_eq!(by_path(&exports, &operator(), tree.path("real/inner/../file")).unwrap().export, 0);
    assert_eq!(by_path(&exports, &operator(), tree.path("real/inner")).unwrap().export, 1);
}

#[test]
fn a_file_export_is_that_file_alone() {
    let tree = Tree::new();
    let file = tree.file("file", 0o644);
    let sibling = tree.file("sibling", 0o644);
    let exports = export(&[&file]);
    assert_eq!(by_path(&exports, &operator(), &file).unwrap().path(), Some(file.clone()));
    for path in [sibling.clone(), file.join("x"), file.join("../sibling"), tree.path("")] {
        assert_eq!(outcome(by_path(&exports, &operator(), path)), "not exported");
    }
    // Replaced by a rename: the path now names another inode than was exported.
    fs::rename(&sibling, &file).unwrap();
    assert_eq!(outcome(by_path(&exports, &operator(), &file)), "not exported");
}

#[test]
fn paths_that_are_none_are_bad_names() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let exports = export(&[&root]);
    let long = "x/".repeat(2048);
    for path in ["", "relative", &format!("{}/a\0b", root.display()), &format!("{}/{long}", root.display())] {
        assert_eq!(outcome(by_path(&exports, &operator(), path)), "bad name", "{path:?}");
    }
    assert_eq!(outcome(by_path(&exports, &operator(), root.join("x".repeat(256)))), "bad name");
    tree.file("root/file", 0o644);
    assert_eq!(outcome(by_path(&exports, &operator(), root.join("file/below"))), "not found");
}

#[test]
fn special_files_are_found_without_being_opened() {
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    // Opening it for reading would hang, for want of a writer.
    mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o644)).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    let exports = export(&[&root]);
    assert_eq!(outcome(by_path(&exports, &operator(), root.join("fifo"))), "ok");
    assert_eq!(outcome(by_path(&exports, &operator(), root.join("socket"))), "ok");
    if needs_root() {
        return;
    }
    let device = nix::sys::stat::makedev(1, 3);
    mknod(&root.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device).unwrap();
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), root.join("device"))), "ok");
}

#[test]
fn permission_bits_decide_on_file_directory_and_everything_above() {
    if needs_root() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    tree.file("root/private", 0o600);
    tree.file("root/public", 0o644);
    tree.file("root/writable", 0o222);
    tree.dir("root/closed", 0o700);
    tree.file("root/closed/public", 0o644);
    tree.dir("root/listable", 0o744);
    tree.file("root/listable/public", 0o644);
    tree.dir("root/searchable", 0o711);
    tree.file("root/searchable/public", 0o644);
    let exports = export(&[&root]);
    let nobody = Principal::of_user("nobody").unwrap();
    for (name, wanted) in [
        ("private", "not permitted"),
        ("public", "ok"),
        ("writable", "not permitted"),
        ("closed", "not permitted"),
        ("closed/public", "not permitted"),
        ("closed/missing", "not permitted"),
        ("listable", "ok"),
        ("listable/public", "not permitted"),
        ("searchable", "not permitted"),
        ("searchable/public", "ok"),
        ("searchable/missing", "not found"),
        ("", "ok"),
    ] {
        for principal in [&nobody, &user(SOMEBODY)] {
            assert_eq!(outcome(by_path(&exports, principal, root.join(name))), wanted, "{name}");
        }
        let as_root = if name.ends_with("missing") { "not found" } else { "ok" };
        assert_eq!(outcome(by_path(&exports, &operator(), root.join(name))), as_root, "{name}");
    }
    give(&root.join("private"), SOMEBODY, 0);
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), root.join("private"))), "ok");
    assert_eq!(outcome(by_path(&exports, &nobody, root.join("private"))), "not permitted");
}

#[test]
fn directories_above_the_export_count_too() {
    if needs_root() {
        return;
    }
    let tree = Tree::new();
    tree.dir("above", 0o700);
    let root = tree.dir("above/root", 0o755);
    let file = tree.file("above/root/file", 0o644);
    let exports = export(&[&root, &file]);
    for name in ["", "file", "missing"] {
        assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), root.join(name))), "not permitted", "{name}");
    }
    assert_eq!(outcome(by_path(&exports, &operator(), &file)), "ok");
    // A link in an export that the user can reach does not help.
    let open = tree.dir("open", 0o755);
    symlink(&file, open.join("link")).unwrap();
    let exports = export(&[&root, &open]);
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), open.join("link"))), "not permitted");
}

#[test]
fn groups_and_access_lists_count() {
    if needs_root() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let shared = tree.file("root/shared", 0o640);
    give(&shared, 0, 60_001);
    let exports = export(&[&root]);
    let member = Principal { groups: vec![60_000, 60_001], ..user(SOMEBODY) };
    let primary = Principal { gid: 60_001, ..user(SOMEBODY) };
    assert_eq!(outcome(by_path(&exports, &member, &shared)), "ok");
    assert_eq!(outcome(by_path(&exports, &primary, &shared)), "ok");
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), &shared)), "not permitted");

    let listed = tree.file("root/listed", 0o600);
    let set = Command::new("setfacl").arg("-m").arg(format!("u:{SOMEBODY}:r")).arg(&listed).status();
    if !set.is_ok_and(|status| status.success()) {
        skipped("setfacl is missing, or the filesystem has no ACLs");
        return;
    }
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY), &listed)), "ok");
    assert_eq!(outcome(by_path(&exports, &user(SOMEBODY + 1), &listed)), "not permitted");
}

#[test]
fn a_batch_answers_each_target_in_order_and_restores_the_thread() {
    if needs_root() {
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let (public, private) = (tree.file("root/public", 0o644), tree.file("root/private", 0o600));
    let exports = export(&[&root]);
    let descriptor = || Target::Descriptor(fs::File::open(&private).unwrap().into());
    let targets = [
        Target::Path(private.clone()),
        Target::Path(public.clone()),
        descriptor(),
        Target::Path("/etc/passwd".into()),
        Target::Path(public.clone()),
    ];
    let outcomes: Vec<_> =
        resolve_batch(&exports, &user(SOMEBODY), &targets).into_iter().map(outcome).collect();
    assert_eq!(outcomes, ["not permitted", "ok", "ok", "not exported", "ok"]);
    assert!(resolve_batch(&exports, &user(SOMEBODY), &[]).is_empty());
    assert!(fs::File::open(&private).is_ok(), "root again");
    fs::write(root.join("mine"), "").unwrap();
    assert_eq!(fs::metadata(root.join("mine")).unwrap().uid(), 0, "root again");
}

#[test]
fn another_user_is_not_served_by_a_daemon_without_privilege() {
    if nix::unistd::geteuid().is_root() {
        skipped("root may become anybody");
        return;
    }
    let tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let error = by_path(&export(&[&root]), &user(SOMEBODY), &root).unwrap_err();
    assert!(error.to_string().contains("CAP_SETUID"), "{error}");
    assert_eq!(outcome(Err(error)), "not permitted");
}
