//! > SYNCED comes only after every UPCALL for changes that were complete when the SYNC arrived: those below directories too.

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    deadline::rounds,
    helper::Helper,
    listener::{Listener, block_on, told},
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};

use crate::trials::Trials;

const ROUNDS: u64 = 100;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("what_is_told_below_is_what_differs", listings::compare);
    trials.on_each("sync_is_a_barrier_for_what_lies_below", |filesystem| {
        let scene = Scene::within(&filesystem.root)?;
        scene.dir("sub")?;
        let file = scene.file("sub/file")?;
        let daemon = filesystem.daemon()?;
        let mut helper = Helper::start()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
            listener.watch(vec![Watch::path(scene.path(), 1).subtree()]).await?;
            for round in 0..rounds(ROUNDS) {
                listener.rest().await?;
                helper.write(&file)?;
                listener.sync().await?;
                let mut heard = listener.heard.iter();
                let told = match filesystem.name {
                    // A directory without a handle is not found again: its client has to look itself.
                    "overlayfs" => told(&listener.heard, 1) & change::RESCAN != 0,
                    _ => heard.any(|notice| tells(notice, b"sub/file", change::DATA)),
                };
                ensure!(told, "round {round}: {:?}", listener.heard);
            }
            Ok(Completion::Completed)
        })
    });
}

fn tells(notice: &Notice, path: &[u8], bits: u32) -> bool {
    matches!(notice, Notice::Upcall { mask, child: Some(child), .. } if child.path == path && mask & bits != 0)
}

/// The set of paths that are told is the set of paths that differ.
mod listings {
    use std::{
        collections::{BTreeMap, BTreeSet},
        ffi::OsStr,
        fs, io,
        os::unix::{ffi::OsStrExt, fs::MetadataExt},
        path::{Path, PathBuf},
    };

    use anyhow::{Context, ensure};
    use libtest_mimic::Completion;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use tests::{
        Result,
        filesystem::{Filesystem, NAMES},
        listener::{Listener, block_on},
        scene::Scene,
    };
    use upcall_client::{Fate, Notice, Watch, change};

    const DIRECTORIES: usize = 30;
    const FILES: usize = 10;

    /// What a reader sees of each path.
    type Listing = BTreeMap<PathBuf, (u64, i64, i64, u64, u32)>;

    pub(super) fn compare(filesystem: &Filesystem) -> Result<Completion> {
        if filesystem.name == NAMES[4] {
            return Ok(Completion::ignored_with("its directories have no handles that can be opened"));
        }
        let scene = Scene::within(&filesystem.root)?;
        let root = scene.dir("tree")?;
        for number in 0..DIRECTORIES {
            fs::create_dir(root.join(format!("old{number}")))?;
            for file in 0..FILES {
                fs::write(root.join(format!("old{number}/{file}")), "before")?;
            }
        }
        let daemon = filesystem.daemon()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "trees").await?;
            listener.watch(vec![Watch::path(&root, 1).subtree().include_own(true)]).await?;
            let before = listing(&root)?;
            let (tree, beside) = (root.clone(), scene.path().to_owned());
            listener.listening(tokio::task::spawn_blocking(move || change_all(&tree, &beside))).await???;
            let after = listing(&root)?;
            listener.sync().await?;
            judge(&listener.heard, &before, &after)
        })
    }

    /// Creates, writes, moves and removes files and directories, inside the tree, out of it and into it.
    fn change_all(root: &Path, beside: &Path) -> io::Result<()> {
        for number in 0..DIRECTORIES {
            let (old, new) = (root.join(format!("old{number}")), root.join(format!("new{number}/deep")));
            fs::create_dir_all(&new)?;
            for file in 0..FILES {
                let name = file.to_string();
                fs::write(new.join(&name), "new")?;
                let temporary = new.join("temporary");
                fs::write(&temporary, "saved")?;
                match file % 5 {
                    0 => fs::rename(&temporary, old.join(&name))?,
                    1 => fs::rename(old.join(&name), new.join(format!("moved{name}")))?,
                    2 => fs::remove_file(old.join(&name))?,
                    3 => fs::rename(old.join(&name), beside.join(format!("out{number}-{name}")))?,
                    _ => fs::write(old.join(&name), "after")?,
                }
                let _ = fs::remove_file(temporary);
            }
            fs::write(beside.join("in"), "from elsewhere")?;
            fs::rename(beside.join("in"), old.join("in"))?;
            if number % 3 == 0 {
                fs::rename(root.join(format!("new{number}")), old.join("below"))?;
            }
            if number % 7 == 0 {
                fs::write(new.parent().unwrap_or(root).join("x"), "")
                    .or_else(|_| fs::write(old.join("x"), ""))?;
            }
        }
        for (one, other) in [("old1", "old2"), ("old4/4", "old5")] {
            renameat2(AT_FDCWD, &root.join(one), AT_FDCWD, &root.join(other), RenameFlags::RENAME_EXCHANGE)?;
        }
        fs::remove_dir_all(root.join("old8"))
    }

    fn listing(root: &Path) -> Result<Listing> {
        let mut found = Listing::new();
        let mut left = vec![root.to_owned()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let seen = fs::symlink_metadata(&path)?;
                if seen.is_dir() {
                    left.push(path.clone());
                }
                let what = (seen.ino(), seen.ctime(), seen.ctime_nsec(), seen.size(), seen.mode());
                found.insert(path.strip_prefix(root)?.to_owned(), what);
            }
        }
        Ok(found)
    }

    fn judge(heard: &[Notice], before: &Listing, after: &Listing) -> Result<Completion> {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let (mut told, mut moved) = (BTreeSet::new(), BTreeSet::new());
        for notice in heard {
            let Notice::Upcall { mask, child, .. } = notice else { continue };
            ensure!(mask & change::RESCAN == 0, "told to look itself");
            let Some(child) = child else { continue };
            for place in [Some(&child.path), child.old_path.as_ref()].into_iter().flatten() {
                told.insert(path(place));
                if child.directory && (child.fate != Fate::Stays || child.old_path.is_some()) {
                    moved.insert(path(place));
                }
            }
        }
        let differs = |place: &&PathBuf| before.get(*place) != after.get(*place);
        let changed: BTreeSet<_> = before.keys().chain(after.keys()).filter(differs).cloned().collect();
        // A directory that has moved speaks for what is in it.
        let spoken = |place: &PathBuf| place.ancestors().skip(1).any(|above| moved.contains(above));
        let missed = changed.iter().find(|place| !told.contains(*place) && !spoken(place));
        ensure!(missed.is_none(), "{missed:?} has changed and is not told");
        let extra = told.iter().find(|place| !changed.contains(*place) && after.contains_key(*place));
        ensure!(extra.is_none(), "{extra:?} is told and has not changed");
        let _ = told.first().context("nothing is told")?;
        Ok(Completion::Completed)
    }
}
