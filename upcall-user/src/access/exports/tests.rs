use std::os::unix::fs::symlink;

use super::*;
use crate::access::tests::tree::Tree;

#[test]
fn a_root_that_cannot_be_exported_is_refused_with_what_to_do() {
    let tree = Tree::new();
    let refusal = |paths: &[PathBuf]| Exports::open(paths).unwrap_err().to_string();
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
    let exports = Exports::open(&[tree.path("link"), tree.path("link"), tree.path("real")]).unwrap();
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
    let exports = Exports::open(&[tree.path("a"), tree.path("a/b"), tree.path("a/single")]).unwrap();
    let above = |path: &Path| exports.above(path).iter().map(|beneath| beneath.index).collect::<Vec<_>>();
    assert_eq!(above(&tree.path("a/b/c")), [1, 0]);
    assert_eq!(above(&tree.path("a/c")), [0]);
    assert_eq!(above(&tree.path("ab")), Vec::<usize>::new());
    assert_eq!(above(&tree.path("a/single")), [2, 0]);
    assert_eq!(above(&tree.path("a/single/x")), [0]);
    assert_eq!(above(Path::new("relative")), Vec::<usize>::new());
}

#[test]
fn only_the_root_of_a_mount_of_the_root_is_the_whole_filesystem() {
    let mountinfo =
        "30 1 8:1 / / rw - ext4 /dev/vda rw\n31 30 8:1 /sub /mnt rw - ext4 /dev/vda rw\nnonsense\n";
    assert!(mounts_the_root(mountinfo, 30));
    assert!(!mounts_the_root(mountinfo, 31));
    assert!(!mounts_the_root(mountinfo, 3));
}
