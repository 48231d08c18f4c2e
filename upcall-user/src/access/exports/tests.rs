use std::os::unix::fs::symlink;

use super::*;
use crate::access::tests::tree::*;

#[test]
fn a_root_that_cannot_be_exported_is_refused_with_what_to_do() {
    let tree = Tree::new();
    let refusal = |paths: &[PathBuf]| {
        let specs: Vec<ExportSpec> = paths.iter().cloned().map(ExportSpec::from).collect();
        Exports::open(&specs).unwrap_err().to_string()
    };
    assert!(refusal(&[]).contains("--export"));
    assert!(refusal(&[tree.path("missing")]).contains("does not exist"));
    assert!(refusal(&["/dev/null".into()]).contains("neither a directory nor a regular file"));
    tree.file("file", 0o644);
    assert!(refusal(&[tree.path("file/below")]).contains("cannot resolve its path"));
}

#[test]
fn symlinks_resolve_to_the_real_path_and_duplicates_count_once() {
    let tree = Tree::new();
    tree.dir("real", 0o755);
    symlink(tree.path("real"), tree.path("link")).unwrap();
    let exports = export(&[&tree.path("link"), &tree.path("link"), &tree.path("real")]);
    assert_eq!(exports.roots().len(), 2);
    let [link, real] = exports.roots() else { panic!() };
    assert_eq!((link.given(), link.path()), (tree.path("link").as_path(), tree.path("real").as_path()));
    assert_eq!(real.path(), link.path());
    assert!(link.is_tree() && !link.is_whole_filesystem());
}

#[test]
fn the_innermost_export_comes_first_and_text_decides_by_components() {
    let tree = Tree::new();
    tree.dir("a", 0o755);
    tree.dir("a/b", 0o755);
    tree.file("a/single", 0o644);
    let exports = export(&[&tree.path("a"), &tree.path("a/b"), &tree.path("a/single")]);
    let above = |path: &Path| exports.above(path).iter().map(|beneath| beneath.index).collect::<Vec<_>>();
    assert_eq!(above(&tree.path("a/b/c")), [1, 0]);
    assert_eq!(above(&tree.path("a/c")), [0]);
    assert_eq!(above(&tree.path("ab")), Vec::<usize>::new());
    assert_eq!(above(&tree.path("a/single")), [2, 0]);
    assert_eq!(above(&tree.path("a/single/x")), [0]);
    assert_eq!(above(Path::new("relative")), Vec::<usize>::new());
}

fn seen(exports: &Exports, path: &Path) -> (&'static str, Availability) {
    let found = outcome(by_path(exports, &user(SOMEBODY), path));
    (found, exports.roots()[0].availability())
}

#[test]
fn an_export_lets_its_filesystem_go_and_is_not_what_lies_underneath() {
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let root = tree.tmpfs("mounted");
    let file = tree.file("mounted/file", 0o644);
    let exports = export(&[&root]);
    assert_eq!(seen(&exports, &file), ("ok", Availability::Available));
    tree.unmount(&root);
    tree.file("mounted/file", 0o644);
    assert_eq!(seen(&exports, &file), ("not exported", Availability::Unmounted));
    tree.mount(&root);
    tree.file("mounted/file", 0o644);
    assert_eq!(seen(&exports, &file), ("not exported", Availability::Replaced), "another tmpfs");
    exports.check();
    assert_eq!(exports.roots()[0].availability(), Availability::Replaced);
}

#[test]
fn a_filesystem_that_is_mounted_again_is_the_same_export() {
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let image = tree.path("image");
    let Some(root) = tree.ext4(&image, "mounted") else {
        return skipped("needs mkfs.ext4 and loop devices");
    };
    tree.dir("mounted/dir", 0o755);
    let file = tree.file("mounted/dir/file", 0o644);
    for exported in [root.clone(), root.join("dir")] {
        let exports = export(&[&exported]);
        tree.unmount(&root);
        exports.check();
        assert_ne!(exports.roots()[0].availability(), Availability::Available);
        assert_eq!(seen(&exports, &file).0, "not exported");
        tree.mount_image(&image, &root).unwrap();
        assert_eq!(seen(&exports, &file), ("ok", Availability::Available));
    }
}

#[test]
fn what_is_mounted_over_an_export_hides_it() {
    if needs_root() {
        return;
    }
    let mut tree = Tree::new();
    let root = tree.dir("root", 0o755);
    let file = tree.file("root/file", 0o644);
    let exports = export(&[&root]);
    tree.mount(&root);
    assert_eq!(seen(&exports, &file), ("not exported", Availability::Replaced));
    tree.unmount(&root);
    assert_eq!(seen(&exports, &file), ("ok", Availability::Available));
    fs::rename(&root, tree.path("moved")).unwrap();
    assert_eq!(seen(&exports, &file), ("not exported", Availability::Missing));
}

fn spec(path: PathBuf, leases: bool) -> ExportSpec {
    ExportSpec { path, switches: Switches { leases, ..Switches::default() } }
}

#[test]
fn the_innermost_export_decides_what_may_be_held_however_the_file_was_named() {
    let tree = Tree::new();
    tree.dir("a", 0o755);
    tree.dir("a/b", 0o755);
    tree.file("a/b/file", 0o644);
    symlink("b", tree.path("a/link")).unwrap();
    let exports = Exports::open(&[spec(tree.path("a"), false), spec(tree.path("a/b"), true)]).unwrap();
    assert!(exports.switches().leases && !exports.switches().locks);
    for path in ["a/b/file", "a/link/file"] {
        let found = by_path(&exports, &user(SOMEBODY), tree.path(path)).unwrap();
        assert_eq!(exports.innermost(&found), 1, "{path}");
    }
    let found = by_path(&exports, &user(SOMEBODY), tree.path("a")).unwrap();
    assert_eq!(exports.innermost(&found), 0);
}

#[test]
fn one_tree_under_two_names_allows_the_same() {
    let tree = Tree::new();
    tree.dir("real", 0o755);
    symlink(tree.path("real"), tree.path("link")).unwrap();
    let both = |leases| Exports::open(&[spec(tree.path("link"), true), spec(tree.path("real"), leases)]);
    assert!(both(true).is_ok());
    assert!(both(false).unwrap_err().to_string().contains("exported twice"));
}
