//! The same change, as clients hear of it who are interested in what lies below the stage, not in its subjects.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::ensure;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
use tests::{
    Result,
    listener::Listener,
    op::{Op, Subject},
};
use upcall_client::{Child, Fate, Notice, Watch, change};

/// Cookies: everything below the stage; what lies directly in it; what lies directly in its `dir`.
const TREE: u64 = 0;
const STAGE: u64 = 1;
const DIR: u64 = 2;

/// Fate, path and old path.
type Name = (Fate, &'static str, Option<&'static str>);

/// What becomes of names, beside what the subjects say.
const NAMES: &[(&str, &[Name])] = &[
    ("create", &[(Fate::Appeared, "dir/new", None)]),
    ("mkdir", &[(Fate::Appeared, "dir/new", None)]),
    ("mknod", &[(Fate::Appeared, "dir/new", None)]),
    ("symlink", &[(Fate::Appeared, "dir/new", None)]),
    ("link_temporary", &[(Fate::Appeared, "dir/new", None)]),
    ("unlink", &[(Fate::Gone, "dir/present", None)]),
    ("rmdir", &[(Fate::Gone, "dir/subdir", None)]),
    ("rename", &[(Fate::Stays, "dir/new", Some("dir/present"))]),
    (
        "rename_exchange",
        &[(Fate::Stays, "other", Some("dir/present")), (Fate::Stays, "dir/present", Some("other"))],
    ),
    (
        "rename_exchange_parents",
        &[(Fate::Stays, "dir2/other", Some("dir/present")), (Fate::Stays, "dir/present", Some("dir2/other"))],
    ),
    ("rename_over", &[(Fate::Stays, "dir/present", Some("other"))]),
    ("rename_across", &[(Fate::Stays, "dir2/new", Some("dir/present"))]),
    ("rename_directory", &[(Fate::Stays, "dir2/new", Some("dir/subdir"))]),
];

/// What is not seen below: a write that takes away mode bits is told as a write (`timestamp`), and who comes to a tree
/// does not know of a file that somebody has mapped before.
const UNSEEN: &[(&str, u32)] = &[
    ("suid_dropped", change::MODE),
    ("mapped_store_to_dirty", change::ANY),
    ("mapped_store_after_msync", change::ANY),
    ("mapped_store_after_writeback", change::ANY),
];

/// Interests, as a listener has made them.
pub(super) struct Below {
    interests: Vec<u64>,
    names: &'static [Name],
    subjects: Vec<&'static Subject>,
    unseen: u32,
    /// Without handles that can be opened, directories of overlays are not found again: their clients are told to look.
    nameless: bool,
}

impl Below {
    pub(super) async fn watch(listener: &mut Listener, op: &'static Op, stage: &Path) -> Result<Self> {
        let watches = vec![
            Watch::path(stage, TREE).subtree(),
            Watch::path(stage, STAGE).children(),
            Watch::path(stage.join("dir"), DIR).children(),
        ];
        let made = listener.watch(watches).await?;
        listener.quiet().await?;
        // Mount points are not crossed.
        let dev = fs::metadata(stage)?.dev();
        let here = |subject: &&Subject| {
            fs::symlink_metadata(stage.join(subject.path)).is_ok_and(|found| found.dev() == dev)
        };
        let subjects = op.subjects.iter().filter(here).collect();
        let unseen = UNSEEN.iter().find(|(name, _)| *name == op.name).map_or(0, |(_, unseen)| *unseen);
        let filesystem = statfs(stage)?.filesystem_type();
        // XFS stamps files that are exchanged only if one of them is a directory: their directories alone say so.
        let silent = filesystem == XFS_SUPER_MAGIC && op.name == "rename_exchange_parents";
        let names = NAMES.iter().find(|(name, _)| *name == op.name && !silent);
        let names = names.map_or(&[][..], |(_, names)| names);
        let nameless = filesystem == OVERLAYFS_SUPER_MAGIC;
        Ok(Self {
            interests: made.iter().map(|made| made.interest).collect(),
            names,
            subjects,
            unseen,
            nameless,
        })
    }

    /// Waits until all has been told as it is, to whom it concerns and to nobody else.
    pub(super) async fn is_told(&self, listener: &mut Listener) -> Result<()> {
        if self.nameless {
            return listener.until_told(TREE, change::RESCAN).await;
        }
        for subject in &self.subjects {
            let what = format!("{} of {} below", names(subject.expected), subject.path);
            listener.until(&what, |heard| self.covers(heard, subject)).await?;
        }
        for (fate, path, old_path) in self.names {
            let told = |heard: &[Notice]| {
                children(heard, TREE).any(|(_, child)| {
                    child.fate == *fate
                        && child.path == path.as_bytes()
                        && child.old_path.as_deref() == old_path.map(str::as_bytes)
                })
            };
            listener.until(&format!("{fate:?} {path} {old_path:?} below"), told).await?;
        }
        listener.sync().await?;
        let rescan = listener.heard.iter().any(
            |notice| matches!(notice, Notice::Upcall { mask, child: None, .. } if mask & change::RESCAN != 0),
        );
        ensure!(!rescan, "told to look itself: {:?}", listener.heard);
        for (cookie, directory) in [(STAGE, ""), (DIR, "dir/")] {
            let far = children(&listener.heard, cookie).find(|(_, child)| child.path.contains(&b'/'));
            ensure!(far.is_none(), "what does not lie directly in {directory:?} is told: {far:?}");
        }
        Ok(())
    }

    fn covers(&self, heard: &[Notice], subject: &Subject) -> bool {
        let all = [(TREE, Some(subject.path)), (STAGE, within("", subject)), (DIR, within("dir/", subject))];
        all.into_iter().filter_map(|(cookie, path)| Some((cookie, path?))).all(|(cookie, path)| {
            let of = |child: &Child| {
                child.path == path.as_bytes() || child.old_path.as_deref() == Some(path.as_bytes())
            };
            let told = || children(heard, cookie).filter(|(_, child)| of(child));
            let mask = told().fold(0, |all, (mask, _)| all | mask);
            let gone = told().any(|(_, child)| child.fate == Fate::Gone);
            let missing = subject.expected & !self.unseen & !(mask | if gone { change::FORGET } else { 0 });
            missing == 0 || mask & change::OTHER != 0 && missing & change::ALWAYS == 0
        })
    }

    pub(super) async fn end(self, listener: &mut Listener) -> Result<()> {
        let client = listener.client.clone();
        listener.listening(client.unregister(self.interests)).await??;
        listener.quiet().await
    }
}

/// The subject's path from the directory, if it lies directly in it.
fn within(directory: &str, subject: &Subject) -> Option<&'static str> {
    subject.path.strip_prefix(directory).filter(|rest| !rest.contains('/'))
}

fn children(heard: &[Notice], of: u64) -> impl Iterator<Item = (u32, &Child)> {
    heard.iter().filter_map(move |notice| match notice {
        Notice::Upcall { cookie, mask, child: Some(child), .. } if *cookie == of => Some((*mask, child)),
        _ => None,
    })
}

fn names(mask: u32) -> String {
    change::names(mask).collect::<Vec<_>>().join("|")
}
