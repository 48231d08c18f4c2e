mod permission;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::Mode,
    unistd::{Gid, Uid, mkfifo},
};
use tempfile::TempDir;
use upcall_common::change::{DATA, NLINK};

use super::*;
use crate::sys::{
    lease::{self, Level, Sort},
    testing::{needs_root, skipped},
};

/// A scope's directory, and a user.
struct Bench {
    root: TempDir,
    principal: Principal,
    listed: Listed,
}

impl Bench {
    fn new(uid: u32) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("set");
        Self { root, principal: Principal { uid, gid: uid, groups: Vec::new() }, listed: Listed::default() }
    }

    /// Of the user that runs the tests.
    fn operator() -> Self {
        Self::new(Uid::effective().as_raw())
    }

    /// Of one without a name or a right; `None` where nobody can act as one.
    fn somebody() -> Option<Self> {
        (!needs_root()).then(|| Self::new(54_321))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn file(&self, name: &str, mode: u32) -> Child {
        fs::write(self.path(name), "content").expect("written");
        self.with_mode(name, mode)
    }

    fn dir(&self, name: &str, mode: u32) -> Child {
        fs::create_dir(self.path(name)).expect("made");
        self.with_mode(name, mode)
    }

    fn with_mode(&self, name: &str, mode: u32) -> Child {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("set");
        self.child(name)
    }

    /// What is at a path now, as the hub tells of it after a change of its data.
    fn child(&self, name: &str) -> Child {
        let found = fs::symlink_metadata(self.path(name)).expect("there");
        Child {
            interest: 7,
            cookie: 70,
            changes: DATA,
            version: 3,
            key: key(found.dev(), found.ino()),
            generation: 1,
            directory: found.is_dir(),
            links: false,
            attrs: Some(Attrs::default()),
            fate: Fate::Stays,
            path: name.into(),
            old_path: None,
            root: None,
        }
    }

    fn resolve(&mut self, children: &[Child]) -> Batch {
        let path = self.root.path().to_owned();
        let open_root = |_: &Child| fs::File::open(&path).map(OwnedFd::from);
        let resolver = Resolver {
            principal: &self.principal,
            open_root: &open_root,
            identify: &identify,
            listed: &mut self.listed,
        };
        resolver.resolve(children.to_vec())
    }

    /// Paths told of, with a minus sign before those that are gone and a plus sign before those that have appeared.
    fn told(&mut self, children: &[Child]) -> Vec<String> {
        let batch = self.resolve(children);
        let sign = |told: &Told| match (told.gone, told.appeared) {
            (true, _) => "-",
            (_, true) => "+",
            _ => "",
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |told: &Told| {
            let old = told.old_path.as_deref().map(|old| format!("{} -> ", text(old))).unwrap_or_default();
            format!("{}{old}{}", sign(told), text(&told.path))
        };
        let lost = batch.lost.iter().map(|interest| format!("lost {interest}"));
        batch.told.iter().map(shown).chain(lost).collect()
    }
}

fn key(dev: u64, ino: u64) -> Key {
    Key::new(u32::try_from(dev).unwrap_or(u32::MAX), ino)
}

fn identify(file: BorrowedFd<'_>) -> io::Result<Identity> {
    let stat = fstat(file)?;
    Ok((key(stat.st_dev, stat.st_ino), 1))
}

fn gone(child: &Child) -> Child {
    Child { fate: Fate::Gone, changes: NLINK, attrs: None, ..child.clone() }
}

/// As the hub tells of an inode that is out of memory.
fn forgotten(child: &Child) -> Child {
    Child { changes: NLINK, attrs: None, directory: false, ..child.clone() }
}

#[test]
fn a_child_is_told_with_what_is_known_of_it() {
    let mut bench = Bench::operator();
    bench.dir("sub", 0o755);
    let child = bench.file("sub/file", 0o644);
    let batch = bench.resolve(std::slice::from_ref(&child));
    let found = fs::File::open(bench.path("sub/file")).expect("there");
    let told = Told {
        interest: 7,
        cookie: 70,
        changes: DATA,
        version: 3,
        attrs: Some(Attrs::default()),
        gone: false,
        appeared: false,
        directory: false,
        links: false,
        ino: child.key.ino,
        handle: handle_of(found.as_fd()).expect("asked"),
        path: b"sub/file".to_vec(),
        old_path: None,
    };
    assert_eq!(batch, Batch { told: vec![told], lost: vec![] });
    let renamed = Child { old_path: Some(b"sub/old".to_vec()), ..child.clone() };
    assert_eq!(bench.told(&[renamed]), ["sub/old -> sub/file"]);
    assert_eq!(bench.told(&[Child { fate: Fate::Appeared, ..child }]), ["+sub/file"]);
}

#[test]
fn a_directory_that_has_been_renamed_speaks_for_what_is_in_it() {
    let mut bench = Bench::operator();
    bench.dir("sub", 0o755);
    let (file, dir) = (bench.file("sub/file", 0o644), bench.dir("sub/dir", 0o755));
    fs::rename(bench.path("sub"), bench.path("moved")).expect("renamed");
    assert_eq!(bench.told(std::slice::from_ref(&file)), [] as [String; 0]);
    // Attributes of directories are not trusted everywhere.
    assert_eq!(bench.told(&[Child { attrs: None, changes: NLINK, ..dir }]), [] as [String; 0]);
    assert_eq!(bench.told(&[Child { fate: Fate::Appeared, ..forgotten(&file) }]), [] as [String; 0]);
    assert_eq!(bench.told(&[forgotten(&file)]), ["-sub/file"]);
}

#[test]
fn a_name_that_another_inode_has_is_told_as_that_ones() {
    let mut bench = Bench::operator();
    let old = bench.file("file", 0o644);
    fs::write(bench.path("new"), "new").expect("written");
    fs::rename(bench.path("new"), bench.path("file")).expect("renamed");
    let new = Child { old_path: Some(b"new".to_vec()), ..bench.child("file") };
    // First what is gone, for the name is not.
    assert_eq!(bench.told(&[new.clone(), gone(&old)]), ["-file", "new -> file"]);
    let batch = bench.resolve(&[gone(&old)]);
    let told = &batch.told[0];
    assert_eq!((told.ino, told.gone, told.appeared, told.changes), (new.key.ino, false, true, NLINK | OTHER));
    assert_eq!(told.attrs, None);
    // The number alone does not make it the same.
    let earlier = Child { generation: 9, ..bench.child("file") };
    assert_eq!(bench.told(&[earlier]), ["+file"]);
    let new_at_its_mark = Child { generation: 0, ..bench.child("file") };
    assert_eq!(bench.told(&[new_at_its_mark]), ["file"]);
}

#[test]
fn symlinks_on_the_way_are_not_followed() {
    let mut bench = Bench::operator();
    bench.dir("real", 0o755);
    let child = bench.file("real/file", 0o644);
    symlink("real", bench.path("link")).expect("linked");
    symlink("real/file", bench.path("straight")).expect("linked");
    let at = |path: &str| Child { path: path.into(), ..child.clone() };
    assert_eq!(bench.told(&[at("link/file")]), [] as [String; 0]);
    let batch = bench.resolve(&[at("straight")]);
    assert_eq!(batch.told[0].ino, bench.child("straight").key.ino, "the link itself");
    assert_eq!(bench.told(&[at("real/../real/file")]), ["lost 7"]);
    assert_eq!(bench.told(&[at("/etc/passwd"), at("../x"), at("")]), ["lost 7"]);
    // A symlink has no contents; who may read the names beside it may read it.
    assert_eq!(bench.told(&[bench.child("link")]), ["link"]);
}

#[test]
fn mount_points_are_not_crossed() {
    if needs_root() {
        return;
    }
    let mut bench = Bench::operator();
    bench.dir("sub", 0o755);
    let under = bench.file("sub/file", 0o644);
    mount(Some("none"), &bench.path("sub"), Some("tmpfs"), MsFlags::empty(), Some("size=1m"))
        .expect("mounted");
    let above = bench.file("sub/file", 0o644);
    let told = bench.told(&[under, above]);
    umount2(&bench.path("sub"), MntFlags::MNT_DETACH).expect("unmounted");
    assert_eq!(told, [""; 0]);
}

#[test]
fn special_files_are_told_to_who_may_read_the_names_beside_them_and_not_opened() {
    let Some(mut bench) = Bench::somebody() else { return };
    bench.dir("searchable", 0o711);
    let mut all = Vec::new();
    for name in ["fifo", "searchable/fifo"] {
        // To open it for reading would wait for a writer.
        mkfifo(&bench.path(name), Mode::from_bits_truncate(0o600)).expect("made");
        all.push(bench.child(name));
    }
    assert_eq!(bench.told(&all), ["fifo"]);
}

#[test]
fn a_lease_is_not_broken() {
    let mut bench = Bench::operator();
    let child = bench.file("file", 0o644);
    let held = fs::File::options().write(true).open(bench.path("file")).expect("open");
    if lease::set(held.as_fd(), Sort::Lease, Level::Write).is_err() {
        return skipped("no leases here");
    }
    assert_eq!(bench.told(&[child]), ["file"]);
    assert_eq!(lease::get(held.as_fd(), Sort::Lease).ok(), Some(Level::Write));
}

#[test]
fn a_root_that_cannot_be_opened_loses_its_children_alone() {
    let mut bench = Bench::operator();
    let here = bench.file("file", 0o644);
    let elsewhere = Child { interest: 8, ..here.clone() };
    let path = bench.root.path().to_owned();
    let open_root = |child: &Child| match child.interest {
        7 => fs::File::open(&path).map(OwnedFd::from),
        _ => Err(Errno::ESTALE.into()),
    };
    let resolver = Resolver {
        principal: &bench.principal,
        open_root: &open_root,
        identify: &identify,
        listed: &mut bench.listed,
    };
    let batch = resolver.resolve(vec![elsewhere, here]);
    assert_eq!((batch.told.len(), batch.told[0].interest, batch.lost), (1, 7, vec![8]));
}

#[test]
fn what_the_hub_cannot_identify_is_lost_not_dropped() {
    let mut bench = Bench::operator();
    let child = bench.file("file", 0o644);
    let path: &Path = bench.root.path();
    let open_root = |_: &Child| fs::File::open(path).map(OwnedFd::from);
    let resolver = Resolver {
        principal: &bench.principal,
        open_root: &open_root,
        identify: &|_| Err(io::Error::other("no answer")),
        listed: &mut bench.listed,
    };
    assert_eq!(resolver.resolve(vec![child]), Batch { told: vec![], lost: vec![7] });
}
