//! Attributes that come with answers and upcalls are those that a reader is told by `stat`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    filesystem::Filesystem,
    listener::{Listener, block_on},
    scene::Scene,
};
use upcall_client::{Attrs, Notice, Watch};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("attributes_are_those_of_stat", |filesystem| {
        told(filesystem).map(|()| Completion::Completed)
    });
}

const FILE: u64 = 1;
const DIR: u64 = 2;

fn told(filesystem: &Filesystem) -> Result<()> {
    let daemon = filesystem.daemon()?;
    let scene = Scene::within(&filesystem.root)?;
    let (file, dir) = (scene.file("file")?, scene.dir("dir")?);
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![own(Watch::path(&file, FILE)), own(Watch::path(&dir, DIR))]).await?;
        listener.rest().await?;
        fs::write(&file, "new")?;
        fs::write(dir.join("some entry"), "")?;
        fs::create_dir(dir.join("some directory"))?;
        listener.rest_and_keep().await?;
        let last = |cookie| listener.heard.iter().rev().find_map(|notice| attrs(notice, cookie));
        let of_file = last(FILE).context("no upcall of the file")?;
        let of_dir = last(DIR).context("no upcall of the directory")?;
        // An overlay's inode cannot be trusted.
        ensure!(of_file.is_some() == (filesystem.name != "overlayfs"), "told of the file: {of_file:?}");
        same(of_file, &file)?;
        same(of_dir, &dir)?;
        let again = listener.watch(vec![own(Watch::path(&file, FILE)), own(Watch::path(&dir, DIR))]).await?;
        for (registered, path) in again.iter().zip([&file, &dir]) {
            same(registered.attrs, path)?;
        }
        Ok(())
    })
}

/// This process makes the changes.
fn own(watch: Watch) -> Watch {
    watch.include_own(true)
}

fn attrs(notice: &Notice, of: u64) -> Option<Option<Attrs>> {
    match notice {
        Notice::Upcall { cookie, attrs, .. } if *cookie == of => Some(*attrs),
        _ => None,
    }
}

/// Attributes that are told at all.
fn same(told: Option<Attrs>, path: &Path) -> Result<()> {
    let Some(told) = told else { return Ok(()) };
    let stat = fs::metadata(path)?;
    let seen = Attrs {
        size: stat.size(),
        mtime_sec: stat.mtime(),
        ctime_sec: stat.ctime(),
        mtime_nsec: stat.mtime_nsec().try_into()?,
        ctime_nsec: stat.ctime_nsec().try_into()?,
        mode: stat.mode(),
        uid: stat.uid(),
        gid: stat.gid(),
        nlink: stat.nlink().try_into()?,
    };
    ensure!(told == seen, "{}: told {told:?}, stat says {seen:?}", path.display());
    Ok(())
}
