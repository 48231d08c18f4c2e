//! Subvolumes of btrfs have inode numbers of their own: two files of one number are told apart.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
};

use anyhow::{Context, ensure};
use tests::{
    Result,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, cookies},
    scene::Scene,
    subvolume,
};
use upcall_client::{Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on("btrfs", "subvolumes_are_told_apart", |filesystem| {
        told_apart(filesystem).map(|()| libtest_mimic::Completion::Completed)
    });
}

fn told_apart(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    let dir = File::open(scene.path())?;
    let files = ["one", "other"].map(|name| {
        subvolume(&dir, name).context("cannot make a subvolume")?;
        let file = scene.path().join(name).join("file");
        fs::write(&file, [b'a'; 100])?;
        anyhow::Ok(file)
    });
    let [one, other] = files;
    let (one, other) = (one?, other?);
    ensure!(fs::metadata(&one)?.ino() == fs::metadata(&other)?.ino(), "their inode numbers differ anyway");
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&one, 1), Watch::path(&other, 2)]).await?;
        for (file, cookie) in [(&one, 1), (&other, 2)] {
            listener.rest().await?;
            helper.write(file)?;
            listener.until_told(cookie, change::DATA).await?;
            listener.rest_and_keep().await?;
            ensure!(
                cookies(&listener.heard).all(|of| of == cookie),
                "told of the other: {:?}",
                listener.heard
            );
        }
        Ok(())
    })
}
