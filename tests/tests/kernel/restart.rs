//! What outlives the daemon, and what the next one makes of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use nix::sys::signal::Signal;
use tests::{
    Result,
    daemon::Daemon,
    deadline::{in_vm, rounds},
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, told},
    program,
    raw::Raw,
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};
use upcall_common::wire::{Known, Target};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    let restart = |it: &Filesystem| completes(meanwhile(it, Daemon::kill));
    // Where everything is emulated, attaching takes longest.
    match in_vm() {
        true => trials.on("ext4", "a_restart_tells_what_changed_meanwhile", restart),
        false => trials.on_each("a_restart_tells_what_changed_meanwhile", restart),
    }
    trials.kernel("a_graceful_restart_tells_what_changed_meanwhile", |it| meanwhile(it, terminate));
    trials.daemon("a_broken_connection_is_told_what_changed_meanwhile", broken_connection);
    trials.kernel("a_change_in_flight_is_not_lost_by_a_restart", in_flight);
    trials.daemon("maps_of_another_size_are_not_taken_over", |it| starts_afresh(it, resize));
    trials.daemon("pins_that_lack_a_program_are_not_taken_over", |it| starts_afresh(it, unpin_a_program));
    trials.daemon("detach_leaves_nothing", detaches);
    trials.daemon("a_daemon_with_nothing_watched_leaves_nothing", leaves_nothing);
    trials.daemon("two_daemons_cannot_share_pins", refuses_a_second);
    trials.daemon("without_a_bpf_filesystem_it_warns_and_runs", without_bpf);
}

fn completes(result: Result<()>) -> Result<Completion> {
    result.map(|()| Completion::Completed)
}

fn terminate(daemon: &mut Daemon) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    daemon.ended().map(drop)
}

const FILES: u64 = 64;

/// Files of a scene, by cookie.
struct Files {
    _scene: Scene,
    paths: Vec<PathBuf>,
}

impl Files {
    fn new(filesystem: &Filesystem) -> Result<Self> {
        let scene = Scene::within(&filesystem.root)?;
        Ok(Self { paths: scene.many(FILES)?, _scene: scene })
    }

    fn watches(&self) -> Vec<Watch> {
        self.paths.iter().zip(0..).map(|(path, cookie)| Watch::path(path, cookie)).collect()
    }
}

/// Of files that are watched while the daemon goes down: those that change are told, the others are not.
fn meanwhile(filesystem: &Filesystem, end: impl Fn(&mut Daemon) -> Result<()>) -> Result<()> {
    let files = Files::new(filesystem)?;
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let epoch = epoch(&daemon)?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(files.watches()).await?;
        listener.rest().await?;
        for round in 0..2 {
            end(&mut daemon)?;
            let mut changed = BTreeSet::new();
            for (path, cookie) in files.paths.iter().zip(0..).skip(round).step_by(5) {
                helper.write(path)?;
                changed.insert(cookie);
            }
            daemon.resume()?;
            listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
            listener.rest_and_keep().await?;
            ensure!(self::epoch(&daemon)? == epoch, "it is another life of the maps");
            let told: BTreeSet<u64> = listener.heard.iter().filter_map(changed_cookie).collect();
            // An overlay's inode does not prove that it is as it was left.
            let right =
                if filesystem.name == "overlayfs" { told.is_superset(&changed) } else { told == changed };
            ensure!(right, "changed {changed:?}, told {told:?}; {}", daemon.log());
            let resync = |notice: &&Notice| matches!(notice, Notice::Resync { .. });
            let resync = listener.heard.iter().find(resync);
            ensure!(resync.is_none(), "it told {resync:?}");
            listener.heard.clear();
        }
        // And it goes on.
        let last = files.paths.last().context("no file")?;
        helper.write(last)?;
        listener.until_told(FILES - 1, change::DATA).await
    })
}

fn changed_cookie(notice: &Notice) -> Option<u64> {
    match notice {
        Notice::Changed { cookie, .. } | Notice::Upcall { cookie, .. } => Some(*cookie),
        _ => None,
    }
}

fn epoch(daemon: &Daemon) -> Result<u64> {
    daemon.status()?["epoch"].as_u64().context("status has no epoch")
}

/// The daemon is there all the time; the client is not.
fn broken_connection(filesystem: &Filesystem) -> Result<()> {
    let files = Files::new(filesystem)?;
    let daemon = Daemon::start(&[&filesystem.root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        // Files are young: their versions hold once the clock has passed their stamps.
        Listener::connect(&daemon.unix(), "operator").await?.rest().await
    })?;
    let first = Client::register(&daemon, &files)?;
    drop(first.connection);
    let changed = files.paths.first().context("no file")?;
    helper.write(changed)?;
    let again = Client::again(&daemon, &files, &first.versions)?;
    let changed: Vec<_> = (0..).zip(&again.unchanged).filter(|(_, unchanged)| !**unchanged).collect();
    ensure!(matches!(changed[..], [(0, _)]), "changed are {changed:?}");
    Ok(())
}

/// A client without the library, so that nothing reconnects by itself.
struct Client {
    connection: Raw,
    versions: Vec<u64>,
    unchanged: Vec<bool>,
}

impl Client {
    fn register(daemon: &Daemon, files: &Files) -> Result<Self> {
        Self::again(daemon, files, &vec![0; files.paths.len()])
    }

    fn again(daemon: &Daemon, files: &Files, known: &[u64]) -> Result<Self> {
        let mut connection = Raw::welcomed(&daemon.unix(), "raw")?;
        let target = |path: &PathBuf| Target::Path(path.as_os_str().as_encoded_bytes().to_vec());
        let known = files.paths.iter().zip(known).map(|(path, known)| (target(path), *known));
        let answers = connection.register_known(known.collect())?;
        Ok(Self {
            connection,
            versions: answers.iter().map(|answer| answer.version).collect(),
            unchanged: answers.iter().map(|answer| answer.known == Known::Unchanged).collect(),
        })
    }
}

/// The daemon is killed right after a change that it may have told too early, or not at all.
fn in_flight(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        for round in 0..rounds(8) {
            listener.rest().await?;
            helper.write(&file)?;
            daemon.restart()?;
            listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
            listener.rest_and_keep().await?;
            let heard = listener.heard.iter().filter_map(changed_cookie).count();
            ensure!(heard > 0, "round {round}: nothing was told of the change: {:?}", listener.heard);
        }
        Ok(())
    })
}

/// After `spoil` the next daemon begins a new life: everything counts as changed, and it works.
fn starts_afresh(filesystem: &Filesystem, spoil: fn(&Daemon) -> Result<()>) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let before = epoch(&daemon)?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        daemon.kill()?;
        spoil(&daemon)?;
        daemon.resume()?;
        listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
        ensure!(epoch(&daemon)? != before, "it took the maps over");
        let doubt = |notice: &Notice| matches!(notice, Notice::Resync { .. });
        ensure!(listener.heard.iter().any(doubt), "no RESYNC: {:?}", listener.heard);
        ensure!(fs::read_dir(daemon.pin()?)?.count() == 1, "the old pins are still there");
        listener.rest().await?;
        helper.write(&file)?;
        listener.until_told(1, change::DATA).await
    })
}

fn resize(daemon: &Daemon) -> Result<()> {
    daemon.configure("slots", "1024")
}

fn unpin_a_program(daemon: &Daemon) -> Result<()> {
    let is_program = |path: &PathBuf| path.to_string_lossy().contains("/link_");
    let program = pinned(&daemon.pin()?)?.into_iter().find(is_program);
    Ok(fs::remove_file(program.context("no program is pinned")?)?)
}

pub(crate) fn pinned(pin: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for set in fs::read_dir(pin)? {
        for entry in fs::read_dir(set?.path())? {
            all.push(entry?.path());
        }
    }
    Ok(all)
}

fn detaches(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let config = daemon.config();
    let detach =
        || program::output(["detach".as_ref(), "--json".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let refused = detach()?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("stop it first"), "under a running daemon: {why}");
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        Ok(())
    })?;
    let ids = programs(&daemon)?;
    daemon.kill()?;
    ensure!(!pinned(&daemon.pin()?)?.is_empty(), "nothing is pinned");
    let done = detach()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let line: serde_json::Value = serde_json::from_slice(&done.stdout)?;
    ensure!(line["programs"].as_array().is_some_and(|all| all.len() == ids), "{line}; {ids} were at work");
    ensure!(!daemon.pin()?.exists(), "the directory is still there");
    ensure!(detach()?.status.success(), "a second time");
    Ok(())
}

/// How many hooks are at work.
fn programs(daemon: &Daemon) -> Result<usize> {
    daemon.status()?["hooks"].as_array().map(Vec::len).context("status has no hooks")
}

fn leaves_nothing(filesystem: &Filesystem) -> Result<()> {
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    ensure!(daemon.pin()?.exists(), "nothing is pinned");
    terminate(&mut daemon)?;
    ensure!(!daemon.pin()?.exists(), "something stays: {}", daemon.log());
    Ok(())
}

fn refuses_a_second(filesystem: &Filesystem) -> Result<()> {
    let daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let scene = Scene::within(&filesystem.root)?;
    let socket = scene.path().join("socket");
    let pin = daemon.pin()?;
    let root = &filesystem.root;
    let output = program::output([
        "daemon".as_ref(),
        "--export".as_ref(),
        root.as_os_str(),
        "--unix".as_ref(),
        socket.as_os_str(),
        "--pin".as_ref(),
        pin.as_os_str(),
    ])?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && why.contains("another daemon has"), "{why}");
    Ok(())
}

fn without_bpf(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start(&[&filesystem.root], "")?;
    daemon.kill()?;
    daemon.configure("pin", &format!("{:?}", scene.path().join("upcall")))?;
    daemon.resume()?;
    ensure!(daemon.log().contains("not on a BPF filesystem"), "no warning: {}", daemon.log());
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        listener.heard.clear();
        daemon.restart()?;
        listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
        let doubt = |notice: &Notice| matches!(notice, Notice::Resync { .. });
        ensure!(listener.heard.iter().any(doubt), "no RESYNC: {:?}", listener.heard);
        ensure!(told(&listener.heard, 1) == 0);
        Ok(())
    })
}
