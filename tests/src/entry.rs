//! Changes of a directory's entries, each with the names that must be told.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{OpenOptionsExt, symlink},
        },
    },
    path::Path,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2},
    sys::stat::{Mode, SFlag, mknod},
    unistd::linkat,
};
use upcall_client::{EntryKind, EntryName};

use crate::{op, scene::Scene, sys};

/// One way to change entries of `dir`, on a stage that [`set`] has made.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub expected: &'static [Expected],
    run: fn(&Path) -> io::Result<()>,
}

/// What must be told of one entry.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    kind: EntryKind,
    name: &'static [u8],
    new_name: Option<&'static [u8]>,
    /// Where the child is in the stage, after the change or before it.
    child: &'static str,
}

/// Identities of all files of a stage, by path.
pub type Handles = BTreeMap<String, (bool, (i32, Vec<u8>))>;

const STRANGE: &[u8] = b"\xff\xfe \n";

pub const CASES: &[Case] = &[
    case("create", &[created("dir/new")], |dir| File::create_new(dir.join("dir/new")).map(drop)),
    case("mkdir", &[created("dir/new")], |dir| fs::create_dir(dir.join("dir/new"))),
    case("mknod", &[created("dir/new")], |dir| {
        Ok(mknod(&dir.join("dir/new"), SFlag::S_IFIFO, Mode::S_IRUSR, 0)?)
    }),
    case("symlink", &[created("dir/new")], |dir| symlink("present", dir.join("dir/new"))),
    case("link", &[created("dir/new")], |dir| fs::hard_link(dir.join("other"), dir.join("dir/new"))),
    case("tmpfile", &[created("dir/new")], |dir| {
        let file = File::options().write(true).custom_flags(libc::O_TMPFILE).open(dir.join("dir"))?;
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        let named = dir.join("dir/new");
        Ok(linkat(AT_FDCWD, nameless.as_str(), AT_FDCWD, &named, AtFlags::AT_SYMLINK_FOLLOW)?)
    }),
    case("unlink", &[gone(EntryKind::Removed, b"present", "dir/present")], |dir| {
        fs::remove_file(dir.join("dir/present"))
    }),
    case("rmdir", &[gone(EntryKind::Removed, b"subdir", "dir/subdir")], |dir| {
        fs::remove_dir(dir.join("dir/subdir"))
    }),
    case("rename", &[renamed(b"present", b"new", "dir/new")], |dir| {
        fs::rename(dir.join("dir/present"), dir.join("dir/new"))
    }),
    case("rename_over", &[renamed(b"present", b"second", "dir/second")], |dir| {
        fs::rename(dir.join("dir/present"), dir.join("dir/second"))
    }),
    case("rename_in", &[gone(EntryKind::MovedIn, b"present", "dir/present")], |dir| {
        fs::rename(dir.join("other"), dir.join("dir/present"))
    }),
    case("rename_out", &[gone(EntryKind::MovedOut, b"subdir", "subdir")], |dir| {
        fs::rename(dir.join("dir/subdir"), dir.join("subdir"))
    }),
    case(
        "exchange",
        &[renamed(b"present", b"subdir", "dir/subdir"), renamed(b"subdir", b"present", "dir/present")],
        |dir| exchange(&dir.join("dir/present"), &dir.join("dir/subdir")),
    ),
    case(
        "exchange_across",
        &[
            gone(EntryKind::MovedOut, b"present", "other"),
            gone(EntryKind::MovedIn, b"present", "dir/present"),
        ],
        |dir| exchange(&dir.join("dir/present"), &dir.join("other")),
    ),
    case("in_a_renamed_directory", &[created("moved/new")], |dir| {
        fs::rename(dir.join("dir"), dir.join("moved"))?;
        File::create_new(dir.join("moved/new")).map(drop)
    }),
    case(
        "no_text",
        &[
            Expected { kind: EntryKind::Created, name: STRANGE, new_name: None, child: "second" },
            gone(EntryKind::MovedOut, STRANGE, "second"),
        ],
        |dir| {
            let strange = dir.join("dir").join(OsStr::from_bytes(STRANGE));
            File::create_new(&strange)?;
            fs::rename(strange, dir.join("second"))
        },
    ),
];

/// Names that are made by [`MANY`]: more than can wait for a client that does not read.
pub const MANY_NAMES: usize = 2000;

/// What is not told entry by entry.
const OTHERS: &[Case] = &[
    case("many", &[], |dir| {
        (0..MANY_NAMES).try_for_each(|n| File::create_new(dir.join(format!("dir/{n:0250}"))).map(drop))
    }),
    case("flicker", &[], |dir| {
        let (present, new) = (dir.join("dir/present"), dir.join("dir/new"));
        fs::hard_link(&present, &new)?;
        fs::remove_file(&new)?;
        fs::hard_link(&present, &new)
    }),
];

const fn case(name: &'static str, expected: &'static [Expected], run: fn(&Path) -> io::Result<()>) -> Case {
    Case { name, expected, run }
}

const fn created(child: &'static str) -> Expected {
    Expected { kind: EntryKind::Created, name: b"new", new_name: None, child }
}

const fn gone(kind: EntryKind, name: &'static [u8], child: &'static str) -> Expected {
    Expected { kind, name, new_name: None, child }
}

const fn renamed(name: &'static [u8], new_name: &'static [u8], child: &'static str) -> Expected {
    Expected { kind: EntryKind::Renamed, name, new_name: Some(new_name), child }
}

fn exchange(here: &Path, there: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, here, AT_FDCWD, there, RenameFlags::RENAME_EXCHANGE)?)
}

/// Does one to the stage in `dir`.
pub fn perform(name: &str, dir: &Path) -> io::Result<()> {
    let case = CASES.iter().chain(OTHERS).find(|case| case.name == name);
    (case.ok_or(io::ErrorKind::InvalidInput)?.run)(dir)
}

/// The stage of [`op::set`] and another file in `dir`.
pub fn set(scene: &Scene) -> anyhow::Result<()> {
    op::set(scene)?;
    scene.file("dir/second").map(drop)
}

pub fn handles(root: &Path) -> anyhow::Result<Handles> {
    let mut handles = Handles::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let is_directory = entry.file_type()?.is_dir();
            handles.insert(path.clone(), (is_directory, sys::file_handle(&entry.path())?));
            if is_directory {
                directories.push(path);
            }
        }
    }
    Ok(handles)
}

impl Expected {
    /// As it must be told, where these were the identities before and after.
    pub fn told(&self, before: &Handles, after: &Handles) -> Option<EntryName> {
        let (directory, (handle_type, handle)) = after.get(self.child).or_else(|| before.get(self.child))?;
        Some(EntryName {
            kind: self.kind,
            directory: *directory,
            handle_type: *handle_type,
            handle: handle.clone(),
            name: self.name.to_vec(),
            new_name: self.new_name.map(<[u8]>::to_vec),
        })
    }
}
