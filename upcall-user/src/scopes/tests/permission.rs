//! What an unprivileged user is told.

use super::*;

#[test]
fn only_what_the_user_could_read_is_told() {
    let Some(mut bench) = Bench::somebody() else { return };
    let private = bench.file("private", 0o600);
    bench.dir("closed", 0o700);
    let hidden = bench.file("closed/public", 0o644);
    bench.dir("searchable", 0o711);
    let reached = bench.file("searchable/public", 0o644);
    let unlisted = bench.dir("searchable/dir", 0o711);
    bench.dir("listable", 0o744);
    let beside = bench.file("listable/public", 0o644);
    let all = [private, hidden, reached, unlisted, beside];
    assert_eq!(bench.told(&all), ["searchable/public"]);
    bench.principal = Bench::operator().principal;
    assert_eq!(bench.told(&all).len(), all.len());
}

#[test]
fn what_has_been_taken_from_the_user_is_told_once_more_by_its_mode_alone() {
    let Some(mut bench) = Bench::somebody() else { return };
    let file = bench.file("file", 0o600);
    let closed = bench.dir("closed", 0o700);
    let all = [file, closed].map(|child| Child { changes: DATA | MODE, ..child });
    let batch = bench.resolve(&all);
    assert_eq!(batch.told.iter().map(|told| told.changes).collect::<Vec<_>>(), [MODE, MODE]);
    bench.with_mode("", 0o711);
    assert_eq!(bench.told(&all), [""; 0]);
}

#[test]
fn groups_count() {
    let Some(mut bench) = Bench::somebody() else { return };
    let shared = bench.file("shared", 0o640);
    let group = Gid::from_raw(60_001);
    nix::unistd::chown(&bench.path("shared"), None, Some(group)).expect("given");
    assert_eq!(bench.told(std::slice::from_ref(&shared)), [""; 0]);
    bench.principal.groups.push(group.as_raw());
    assert_eq!(bench.told(&[shared]), ["shared"]);
}

#[test]
fn what_is_gone_is_told_to_who_may_read_the_names_beside_it() {
    let Some(mut bench) = Bench::somebody() else { return };
    bench.dir("open", 0o755);
    bench.dir("searchable", 0o711);
    bench.dir("closed", 0o700);
    let all = ["open/a", "searchable/a", "closed/a"].map(|name| bench.file(name, 0o644));
    for name in ["open/a", "searchable/a", "closed/a"] {
        fs::remove_file(bench.path(name)).expect("removed");
    }
    assert_eq!(bench.told(&all), ["-open/a"]);
    assert_eq!(bench.told(&all.each_ref().map(gone)), ["-open/a"]);
    assert_eq!(bench.told(&all.each_ref().map(forgotten)), ["-open/a"]);
}

#[test]
fn of_a_directory_that_is_gone_only_who_could_read_it_is_told_what_was_in_it() {
    let Some(mut bench) = Bench::somebody() else { return };
    let dir = bench.dir("dir", 0o755);
    let (seen, unseen) = (bench.file("dir/seen", 0o644), bench.file("dir/unseen", 0o644));
    assert_eq!(bench.told(std::slice::from_ref(&seen)), ["dir/seen"]);
    fs::remove_dir_all(bench.path("dir")).expect("removed");
    let all = [forgotten(&seen), gone(&unseen), gone(&dir)];
    assert_eq!(bench.told(&all), ["-dir/seen", "-dir/unseen", "-dir"]);
    // The mode may have been another before it went.
    let changed = Child { changes: NLINK | MODE, ..gone(&dir) };
    assert_eq!(bench.told(&[gone(&seen), changed]), ["-dir"]);
    assert_eq!(bench.told(&[gone(&seen), gone(&dir)]), ["-dir"]);
    bench.principal = Bench::operator().principal;
    assert_eq!(bench.told(&[gone(&seen)]), ["-dir/seen"]);
}

#[test]
fn another_inode_is_not_told_to_who_may_not_read_it() {
    let Some(mut bench) = Bench::somebody() else { return };
    let old = bench.file("file", 0o644);
    fs::remove_file(bench.path("file")).expect("removed");
    // While it is open, no other inode gets its number.
    let other = bench.file("file", 0o600);
    let old = Child { generation: 2, ..old };
    assert_eq!(bench.told(&[gone(&old), other]), ["-file"]);
}

#[test]
fn a_child_that_went_where_the_user_cannot_see_it_has_left() {
    let Some(mut bench) = Bench::somebody() else { return };
    bench.dir("closed", 0o700);
    let moved = |child: Child, from: &str| Child { old_path: Some(from.into()), ..child };
    let inside = moved(bench.file("closed/file", 0o644), "file");
    assert_eq!(bench.told(&[inside]), ["-file"]);
    let outside = moved(bench.file("file", 0o644), "closed/other");
    assert_eq!(bench.told(&[outside]), ["+file"]);
    let within = moved(bench.child("closed/file"), "closed/other");
    assert_eq!(bench.told(&[within]), [""; 0]);
}
