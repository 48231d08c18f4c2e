//! The lives of inodes and filesystems: what ends an interest, and what does not.

use std::{
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use serde_json::Value;
use tests::{
    Result,
    daemon::Daemon,
    deadline::wait_for,
    evict::evict,
    file_handle,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, cookies, told},
    own::Own,
    scene::Scene,
};
use upcall_client::{Code, ItemError, Notice, Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("unlink_while_open", unlink_while_open);
    trials.on_each("final_close", final_close);
    trials.on_each("eviction_and_reload", eviction_and_reload);
    trials.on_each("number_reused", number_reused);
    trials.on_each("handle_survives_rename_and_eviction", handle_survives);
    trials.on_each("unmount", unmount);
    trials.kernel("device_number_reused", device_number_reused);
}

/// A file, a process that changes it, and a client.
struct Stage {
    scene: Scene,
    daemon: Arc<Daemon>,
    helper: Helper,
    listener: Listener,
}

impl Stage {
    async fn set(filesystem: &Filesystem, daemon: Arc<Daemon>) -> Result<Self> {
        let scene = Scene::within(&filesystem.root)?;
        scene.file("file")?;
        let listener = Listener::connect(&daemon.unix(), "reader").await?;
        Ok(Self { scene, daemon, helper: Helper::start()?, listener })
    }

    fn file(&self) -> PathBuf {
        self.scene.path().join("file")
    }

    /// Watches the file as cookie 1.
    async fn watch(&mut self) -> Result<()> {
        self.listener.watch(vec![Watch::path(self.file(), 1)]).await?;
        self.listener.rest().await
    }

    /// The file is open in the other process, has no name any more, and its client has been told so.
    async fn unlink_while_open(&mut self) -> Result<()> {
        self.helper.hold(&self.file())?;
        self.watch().await?;
        let file = self.file();
        self.helper.unlink(&file)?;
        self.listener.until_told(1, change::NLINK).await?;
        self.listener.rest_and_keep().await?;
        ensure!(!has_ended(&self.listener.heard, 1), "ended while open: {:?}", self.listener.heard);
        self.listener.heard.clear();
        Ok(())
    }
}

fn is_end(notice: &Notice, of: u64) -> bool {
    matches!(notice, Notice::Upcall { cookie, mask, ended: true, .. }
        if *cookie == of && mask & change::FORGET != 0)
}

fn has_ended(heard: &[Notice], of: u64) -> bool {
    heard.iter().any(|notice| is_end(notice, of))
}

async fn until_ended(listener: &mut Listener, of: u64) -> Result<()> {
    listener.until("FORGET", |heard| has_ended(heard, of)).await
}

/// But those that wait for clients of earlier tests.
fn slots_freed(daemon: &Daemon) -> Result<()> {
    wait_for("the slots to be freed", || {
        let status = daemon.status()?;
        let hub =
            |field: &str| status["hub"][field].as_u64().with_context(|| format!("no hub.{field}: {status}"));
        Ok((hub("slots_used")? == hub("unclaimed")?).then_some(()))
    })
}

fn skipped(why: impl Display) -> Result<Completion> {
    Ok(Completion::ignored_with(why))
}

fn unlink_while_open(filesystem: &Filesystem) -> Result<Completion> {
    block_on(async {
        let mut stage = Stage::set(filesystem, filesystem.daemon()?).await?;
        stage.unlink_while_open().await?;
        stage.helper.write_held()?;
        stage.listener.until_told(1, change::DATA).await?;
        stage.listener.rest_and_keep().await?;
        ensure!(!has_ended(&stage.listener.heard, 1), "ended while open: {:?}", stage.listener.heard);
        Ok(Completion::Completed)
    })
}

fn final_close(filesystem: &Filesystem) -> Result<Completion> {
    block_on(async {
        let mut stage = Stage::set(filesystem, filesystem.daemon()?).await?;
        stage.unlink_while_open().await?;
        stage.helper.release()?;
        until_ended(&mut stage.listener, 1).await?;
        stage.listener.quiet().await?;
        slots_freed(&stage.daemon)?;
        stage.listener.heard_nothing()?;
        Ok(Completion::Completed)
    })
}

fn eviction_and_reload(filesystem: &Filesystem) -> Result<Completion> {
    if filesystem.name == "tmpfs" {
        return skipped("tmpfs has its inodes in memory only");
    }
    block_on(async {
        let mut stage = Stage::set(filesystem, filesystem.daemon()?).await?;
        stage.watch().await?;
        if let Err(error) = evict(&stage.file())? {
            return skipped(format!("cannot evict an inode here: {error}"));
        }
        stage.listener.rest_and_keep().await?;
        stage.listener.heard_nothing()?;
        stage.helper.write(&stage.file())?;
        stage.listener.until_told(1, change::DATA).await?;
        stage.listener.rest_and_keep().await?;
        ensure!(!has_ended(&stage.listener.heard, 1), "ended by eviction: {:?}", stage.listener.heard);
        Ok(Completion::Completed)
    })
}

/// Files that are made before giving up.
const MOST_FILES: u32 = 4096;

fn number_reused(filesystem: &Filesystem) -> Result<Completion> {
    if ["btrfs", "tmpfs"].contains(&filesystem.name) {
        return skipped(format!("{} counts its inode numbers up", filesystem.name));
    }
    block_on(async {
        let mut stage = Stage::set(filesystem, filesystem.daemon()?).await?;
        if filesystem.name == "overlayfs" && stage.daemon.status()?["source"] == "timestamp" {
            return skipped("source timestamp cannot tell two overlay inodes of one number: README, Limits");
        }
        stage.watch().await?;
        let number = fs::metadata(stage.file())?.ino();
        let file = stage.file();
        stage.helper.unlink(&file)?;
        let mut names = (0..MOST_FILES).map(|name| stage.scene.path().join(name.to_string()));
        let reused =
            names.find_map(|path| match fs::write(&path, "new").and_then(|()| fs::metadata(&path)) {
                Ok(made) => (made.ino() == number).then_some(Ok(path)),
                Err(error) => Some(Err(error)),
            });
        let reused = reused.context("no file got the number")??;
        stage.helper.write(&reused)?;
        until_ended(&mut stage.listener, 1).await?;
        stage.helper.write(&reused)?;
        stage.listener.rest_and_keep().await?;
        let last = stage.listener.heard.last();
        ensure!(last.is_some_and(|last| is_end(last, 1)), "told after FORGET: {:?}", stage.listener.heard);
        stage.listener.watch(vec![Watch::path(&reused, 2)]).await?;
        stage.listener.rest().await?;
        stage.helper.write(&reused)?;
        stage.listener.until_told(2, change::DATA).await?;
        stage.listener.rest_and_keep().await?;
        ensure!(told(&stage.listener.heard, 1) == 0, "the old interest was told: {:?}", stage.listener.heard);
        ensure!(!has_ended(&stage.listener.heard, 2), "the new one ended: {:?}", stage.listener.heard);
        Ok(Completion::Completed)
    })
}

/// > Interest by file handle survives eviction and is right after the path is renamed.
fn handle_survives(filesystem: &Filesystem) -> Result<Completion> {
    block_on(async {
        let mut stage = Stage::set(filesystem, filesystem.daemon()?).await?;
        let Ok((kind, bytes)) = file_handle(&stage.file()) else {
            return skipped(format!("{} has no file handles", filesystem.name));
        };
        let named = |cookie| Watch::handle(&filesystem.root, kind, bytes.clone(), cookie);
        stage.listener.watch(vec![named(1)]).await?;
        stage.listener.rest().await?;
        let file = stage.file();
        stage.helper.rename(&file, "renamed")?;
        stage.listener.until_told(1, change::RENAME).await?;
        stage.listener.rest().await?;
        let renamed = stage.scene.path().join("renamed");
        if filesystem.name != "tmpfs"
            && let Err(error) = evict(&renamed)?
        {
            return skipped(format!("cannot evict an inode here: {error}"));
        }
        // Who has the path now is another one.
        stage.scene.file("file")?;
        stage.helper.write(&stage.file())?;
        stage.listener.rest_and_keep().await?;
        stage.listener.heard_nothing()?;
        stage.helper.write(&renamed)?;
        stage.listener.until_told(1, change::DATA).await?;
        ensure!(!has_ended(&stage.listener.heard, 1), "ended: {:?}", stage.listener.heard);
        stage.listener.watch(vec![named(2)]).await?;
        stage.listener.rest().await?;
        stage.helper.write(&renamed)?;
        stage.listener.until_told(2, change::DATA).await?;
        stage.listener.until_told(1, change::DATA).await?;
        Ok(Completion::Completed)
    })
}

/// What `status` says of exports that are not available.
fn unavailable(daemon: &Daemon) -> Result<Vec<Value>> {
    let status = daemon.status()?;
    status["exports_unavailable"].as_array().cloned().context("no exports_unavailable")
}

async fn register(listener: &mut Listener, path: &Path, cookie: u64) -> Result<Result<(), ItemError>> {
    let client = listener.client.clone();
    let mut outcomes = listener.listening(client.register(vec![Watch::path(path, cookie)])).await??;
    Ok(outcomes.pop().context("no outcome")?.map(drop))
}

async fn refused(listener: &mut Listener, path: &Path) -> Result<()> {
    let outcome = register(listener, path, 99).await?;
    ensure!(outcome.as_ref().is_err_and(|error| error.code == Code::NotExported), "answered {outcome:?}");
    Ok(())
}

fn unmount(filesystem: &Filesystem) -> Result<Completion> {
    let Some(own) = Own::make(filesystem.name)? else {
        return skipped("nothing here makes such filesystems");
    };
    let (root, file) = (own.root(), own.root().join("file"));
    fs::write(&file, "old")?;
    let daemon = Daemon::start(&[&root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        let third = match file_handle(&file) {
            Ok((kind, bytes)) => Watch::handle(&root, kind, bytes, 3),
            Err(_) => Watch::path(&file, 3),
        };
        listener.watch(vec![Watch::path(&file, 1), Watch::path(&root, 2), third]).await?;
        helper.write(&file)?;
        listener.until_told(1, change::DATA).await?;
        listener.rest().await?;
        ensure!(unavailable(&daemon)?.is_empty(), "unavailable while mounted");

        own.unmount()?;
        for cookie in [1, 2, 3] {
            until_ended(&mut listener, cookie).await?;
        }
        listener.quiet().await?;
        slots_freed(&daemon)?;
        refused(&mut listener, &file).await?;
        refused(&mut listener, &root).await?;
        let said = unavailable(&daemon)?;
        ensure!(said.iter().any(|it| it["why"].to_string().contains("not mounted")), "status says {said:?}");

        own.mount()?;
        if filesystem.name == "tmpfs" {
            fs::write(&file, "new")?;
            refused(&mut listener, &file).await?;
            let said = unavailable(&daemon)?;
            ensure!(said.iter().any(|it| it["why"].to_string().contains("another")), "status says {said:?}");
        } else {
            listener.watch(vec![Watch::path(&file, 4)]).await?;
            listener.rest().await?;
            helper.write(&file)?;
            listener.until_told(4, change::DATA).await?;
            ensure!(cookies(&listener.heard).all(|cookie| cookie == 4), "heard {:?}", listener.heard);
            ensure!(unavailable(&daemon)?.is_empty(), "unavailable though mounted again");
        }
        own.unmount()?;
        Ok(Completion::Completed)
    })
}

/// A tmpfs that is mounted where another one was gets its device number, and its files get the same numbers.
fn device_number_reused(_: &Filesystem) -> Result<()> {
    let own = Own::make("tmpfs")?.context("no tmpfs")?;
    let file = own.root().join("file");
    let identity = || -> Result<(u64, u64)> {
        fs::write(&file, "content")?;
        let made = fs::metadata(&file)?;
        Ok((made.dev(), made.ino()))
    };
    // Above the mount, so that whatever is mounted there is in the export.
    let daemon = Daemon::start(&[own.above()], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        let before = identity()?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        listener.rest().await?;
        own.unmount()?;
        own.mount()?;
        let after = identity()?;
        ensure!(before == after, "the numbers were not used again: {before:?}, {after:?}");
        until_ended(&mut listener, 1).await?;
        slots_freed(&daemon)?;
        listener.watch(vec![Watch::path(&file, 2)]).await?;
        listener.rest().await?;
        helper.write(&file)?;
        listener.until_told(2, change::DATA).await?;
        listener.rest_and_keep().await?;
        ensure!(cookies(&listener.heard).all(|cookie| cookie == 2), "heard {:?}", listener.heard);
        own.unmount()?;
        until_ended(&mut listener, 2).await
    })
}
