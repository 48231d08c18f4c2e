//! > Every change of an entry that was complete after REGISTERED is named in an upcall of the interest, or an
//! > upcall with NAMES_INCOMPLETE covers it; none is named twice. [..] SYNCED comes after the names of all changes
//! > that were complete when the SYNC arrived.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use libtest_mimic::Completion;
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use tests::{
    Result,
    daemon::Daemon,
    deadline::wait_for,
    entry::{self, Case, MANY_NAMES},
    fdinfo, file_handle,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    raw::Raw,
    scene::Scene,
};
use tokio::time::sleep;
use upcall_client::{EntryKind, EntryName, Notice, Options, Watch, change};
use upcall_common::wire::{FEATURE_NAMES, Hello, Message, RegisterItem, Target, VERSION};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    for case in entry::CASES {
        with_handles(trials, &format!("names_{}", case.name), move |filesystem| named(filesystem, case));
    }
    with_handles(trials, "names_come_before_synced", before_synced);
    with_handles(trials, "names_merged_by_the_kernel_are_changed", merged);
    with_handles(trials, "names_of_own_changes_are_left_out", |filesystem| own(filesystem, false));
    with_handles(trials, "names_of_own_changes_if_asked_for", |filesystem| own(filesystem, true));
    with_handles(trials, "names_beyond_the_bound_are_incomplete", bounded);
    trials.above("names_on_overlayfs_are_incomplete", overlay);
    trials.daemon("a_mark_for_names_goes_with_the_last_interest", marks);
    trials.daemon("names_need_the_feature", without_feature);
}

/// A test on each filesystem by whose handles the kernel can name a directory.
fn with_handles<F>(trials: &mut Trials<'_>, what: &str, test: F)
where
    F: Fn(&Filesystem) -> Result<Completion> + Clone + Send + 'static,
{
    // The kernel names entries above its filesystems.
    trials.above(what, move |filesystem| match file_handle(&filesystem.root) {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            Ok(Completion::ignored_with("it has no file handles: names are incomplete, README, Limits"))
        }
        _ => test(filesystem),
    });
}

/// The names told, and whether any upcall was incomplete.
fn names(heard: &[Notice]) -> (Vec<EntryName>, bool) {
    let (mut entries, mut incomplete) = (Vec::new(), false);
    for notice in heard {
        if let Notice::Upcall { names, .. } = notice {
            entries.extend(names.entries.iter().cloned());
            incomplete |= names.incomplete;
        }
    }
    (entries, incomplete)
}

fn watch(dir: &Path) -> Watch {
    Watch::path(dir, 1).mask(change::ENTRIES).names(true)
}

fn unsupported(name: &str, errno: i32) -> Result<Completion> {
    let error = Errno::from_raw(errno);
    let has_none = matches!(error, Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENOTTY);
    ensure!(has_none, "the kernel refused the change: {error}");
    Ok(Completion::ignored_with(format!("{name} is not supported: {error}")))
}

fn named(filesystem: &Filesystem, case: &Case) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut unix = Listener::connect(&daemon.unix(), "unix").await?;
        let mut tcp = Listener::connect(&daemon.tcp(), "tcp").await?;
        let dir = scene.path().join("dir");
        unix.watch(vec![watch(&dir)]).await?;
        tcp.watch(vec![watch(&dir)]).await?;
        unix.rest().await?;
        tcp.quiet().await?;
        let before = entry::handles(scene.path())?;
        if let Err(errno) = helper.entry(case.name, scene.path())? {
            return unsupported(case.name, errno);
        }
        let after = entry::handles(scene.path())?;
        let expected: Option<Vec<EntryName>> =
            case.expected.iter().map(|expected| expected.told(&before, &after)).collect();
        let expected = expected.context("the child is nowhere")?;
        for listener in [&mut unix, &mut tcp] {
            listener.sync().await?;
            let (entries, incomplete) = names(&listener.heard);
            ensure!(!incomplete, "names are incomplete");
            ensure!(entries == expected, "told {entries:?} instead of {expected:?}");
        }
        unix.rest_and_keep().await?;
        let (entries, _) = names(&unix.heard);
        ensure!(entries == expected, "told again: {entries:?}");
        Ok(Completion::Completed)
    })
}

/// The daemon finds the SYNC before it finds that there are names.
fn before_synced(filesystem: &Filesystem) -> Result<Completion> {
    const TAG: u32 = 5;
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    let mut raw = registered(&daemon, FEATURE_NAMES, &scene.path().join("dir"))?;
    ensure!(raw.ask(&Message::Sync)? == Message::Synced, "no barrier");
    daemon.signal(Signal::SIGSTOP)?;
    raw.send(&Message::Sync, TAG)?;
    let performed = helper.entry("create", scene.path())?;
    daemon.signal(Signal::SIGCONT)?;
    ensure!(performed.is_ok(), "the kernel refused: {performed:?}");
    let mut told = Vec::new();
    loop {
        match raw.receive()?.context("the daemon closed the connection")? {
            (TAG, Message::Synced) => break,
            (_, Message::Upcall(items)) => told.extend(items.into_iter().flat_map(|item| item.names)),
            _ => {}
        }
    }
    let told: Vec<&[u8]> = told.iter().map(|entry| &*entry.name).collect();
    ensure!(told == [b"new"], "told {told:?} before SYNCED");
    Ok(Completion::Completed)
}

/// A client by hand that uses these features and watches a directory with names.
fn registered(daemon: &Daemon, features: u64, dir: &Path) -> Result<Raw> {
    let mut raw = Raw::connect(&daemon.unix())?;
    let name = "raw".to_owned();
    let hello = Hello { version_min: VERSION, version_max: VERSION, features, name };
    match raw.ask(&Message::Hello(hello))? {
        Message::Welcome(welcome) if welcome.features & FEATURE_NAMES == features => {}
        other => bail!("HELLO was answered by {other:?}"),
    }
    let item = RegisterItem {
        cookie: 1,
        mask: change::ENTRIES,
        include_own: true,
        names: true,
        lifetime_ms: 0,
        known_version: 0,
        target: Target::Path(dir.as_os_str().as_encoded_bytes().to_vec()),
    };
    match raw.ask(&Message::Register(vec![item]))? {
        Message::Registered(made) if made.iter().all(|made| made.code.is_ok()) => Ok(raw),
        other => bail!("REGISTER was answered by {other:?}"),
    }
}

fn merged(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![watch(&scene.path().join("dir"))]).await?;
        listener.rest().await?;
        // What nobody reads the kernel merges.
        daemon.signal(Signal::SIGSTOP)?;
        let performed = helper.entry("flicker", scene.path())?;
        daemon.signal(Signal::SIGCONT)?;
        if let Err(errno) = performed {
            return unsupported("flicker", errno);
        }
        listener.sync().await?;
        let (entries, incomplete) = names(&listener.heard);
        let told: Vec<_> = entries.iter().map(|entry| (entry.kind, &*entry.name)).collect();
        ensure!(!incomplete && told == [(EntryKind::Changed, &b"new"[..])], "told {entries:?}");
        Ok(Completion::Completed)
    })
}

/// This process is the client.
fn own(filesystem: &Filesystem, include_own: bool) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let dir = scene.path().join("dir");
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "writer").await?;
        listener.watch(vec![watch(&dir).include_own(include_own)]).await?;
        listener.rest().await?;
        fs::create_dir(dir.join("mine"))?;
        listener.rest_and_keep().await?;
        if !include_own {
            listener.heard_nothing()?;
        }
        if let Err(errno) = helper.entry("create", scene.path())? {
            return unsupported("create", errno);
        }
        listener.sync().await?;
        let (entries, incomplete) = names(&listener.heard);
        let told: Vec<&[u8]> = entries.iter().map(|entry| &*entry.name).collect();
        let expected: &[&[u8]] = if include_own { &[b"mine", b"new"] } else { &[b"new"] };
        ensure!(!incomplete && told == expected, "told {entries:?}");
        Ok(Completion::Completed)
    })
}

fn bounded(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let lazy =
            Options { notice_capacity: 1, request_timeout: Duration::from_secs(60), ..Options::default() };
        let mut listener = Listener::connect_with(&daemon.unix(), lazy).await?;
        listener.watch(vec![watch(&scene.path().join("dir"))]).await?;
        listener.rest().await?;
        // Meanwhile nobody reads notices, and so nobody the socket.
        let many = helper.entry("many", scene.path())?;
        ensure!(many.is_ok(), "the kernel refused: {many:?}");
        let is_incomplete = |heard: &[Notice]| names(heard).1;
        listener.until("incomplete names", is_incomplete).await?;
        listener.rest_and_keep().await?;
        let (entries, _) = names(&listener.heard);
        ensure!(entries.len() < MANY_NAMES, "all {} were told", entries.len());
        // And then they are complete again.
        listener.heard.clear();
        let created = helper.entry("create", scene.path())?;
        ensure!(created.is_ok(), "the kernel refused: {created:?}");
        listener.sync().await?;
        let (entries, incomplete) = names(&listener.heard);
        ensure!(!incomplete && entries.len() == 1, "told {entries:?}, incomplete: {incomplete}");
        Ok(Completion::Completed)
    })
}

/// It has no file handles, unless it is asked to have them.
fn overlay(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let (lower, upper) = (scene.dir("lower")?, scene.dir("upper")?);
    let (work, merged) = (scene.dir("work")?, scene.dir("merged")?);
    fs::create_dir(upper.join("dir"))?;
    let of = |path: &Path| path.display().to_string();
    let layers = format!("lowerdir={},upperdir={},workdir={}", of(&lower), of(&upper), of(&work));
    let mounted = mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(&*layers));
    if let Err(error) = mounted {
        return Ok(Completion::ignored_with(format!("no overlayfs here: {error}")));
    }
    let outcome = incomplete_on(&merged);
    umount2(&merged, MntFlags::MNT_DETACH)?;
    outcome.map(|()| Completion::Completed)
}

fn incomplete_on(root: &Path) -> Result<()> {
    let daemon = Daemon::start(&[root], "")?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.tcp(), "reader").await?;
        listener.watch(vec![watch(&root.join("dir"))]).await?;
        listener.quiet().await?;
        fs::create_dir(root.join("dir/new"))?;
        listener.until_told(1, change::ENTRIES).await?;
        let (entries, incomplete) = names(&listener.heard);
        ensure!(incomplete && entries.is_empty(), "told {entries:?}, incomplete: {incomplete}");
        Ok(())
    })
}

fn marks(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let dir = scene.path().join("dir");
    let daemon = Daemon::start(&[&filesystem.root], "")?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        let made = listener.watch(vec![watch(&dir), watch(&dir), Watch::path(scene.path(), 2)]).await?;
        ensure!(marked(&daemon)? == 1, "{} marks", marked(&daemon)?);
        let client = listener.client.clone();
        let end = |at: usize| made.get(at).map(|made| vec![made.interest]).context("an interest is missing");
        listener.listening(client.unregister(end(0)?)).await??;
        // As long as it would take to go.
        listener.listening(sleep(Duration::from_millis(100))).await?;
        ensure!(marked(&daemon)? == 1, "the mark of the other interest is gone");
        listener.listening(client.unregister(end(1)?)).await??;
        wait_for("the mark to go", || Ok((marked(&daemon)? == 0).then_some(())))?;
        // And it comes back.
        listener.watch(vec![watch(&dir)]).await?;
        listener.rest().await?;
        let mut helper = Helper::start()?;
        ensure!(helper.entry("create", scene.path())?.is_ok(), "nothing was created");
        listener.sync().await?;
        let (entries, incomplete) = names(&listener.heard);
        ensure!(!incomplete && entries.len() == 1, "told {entries:?}");
        Ok(())
    })?;
    wait_for("the mark to go with its client", || Ok((marked(&daemon)? == 0).then_some(())))
}

/// How many directories the daemon has the kernel report names of.
fn marked(daemon: &Daemon) -> Result<usize> {
    let mut marks = 0;
    for info in fdinfo::of(daemon.pid())? {
        marks += info.lines().filter(|line| line.starts_with("fanotify ino:")).count();
    }
    Ok(marks)
}

fn without_feature(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    entry::set(&scene)?;
    let daemon = filesystem.daemon()?;
    let mut raw = registered(&daemon, 0, &scene.path().join("dir"))?;
    fs::create_dir(scene.path().join("dir/new"))?;
    while let Some((_, message)) = raw.receive()? {
        if let Message::Upcall(items) = message {
            ensure!(items.iter().all(|item| item.names.is_empty() && !item.names_incomplete), "{items:?}");
            return Ok(());
        }
    }
    bail!("the daemon closed the connection")
}
