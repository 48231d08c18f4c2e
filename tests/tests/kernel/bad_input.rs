//! > Bad input: a random byte stream, an oversized frame, an unknown version, a path outside exports, a file the
//! > peer may not read, a handle of another filesystem, a directory that does not exist, a client that never
//! > reads: each has its own clear error or outcome, and every other client goes on undisturbed.

use std::{fs::File, path::Path};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tests::{
    Result,
    daemon::Daemon,
    deadline::wait_for,
    file_handle,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    raw::Raw,
    scene::Scene,
};
use upcall_client::{Code, Watch, change};
use upcall_common::wire::{MAX_BATCH, MAX_BODY, Message, Target, VERSION};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("random_bytes", |fs| undisturbed(fs, random_bytes));
    trials.daemon("random_bytes_after_hello", |fs| undisturbed(fs, random_bytes_after_hello));
    trials.daemon("oversized_frame", |fs| undisturbed(fs, oversized));
    trials.daemon("unknown_version", |fs| undisturbed(fs, version));
    trials.daemon("no_hello", |fs| undisturbed(fs, no_hello));
    trials.daemon("second_hello", |fs| undisturbed(fs, second_hello));
    trials.daemon("descriptor_nobody_claims", |fs| undisturbed(fs, descriptor_nobody_claims));
    trials.daemon("batch_too_large", |fs| undisturbed(fs, batch_too_large));
    trials.daemon("unknown_frame_type", |fs| undisturbed(fs, unknown_type));
    trials.daemon("path_outside_exports", |fs| undisturbed(fs, outside));
    trials.daemon("unreadable_file", |fs| undisturbed(fs, unreadable));
    trials.daemon("missing_directory", |fs| undisturbed(fs, missing));
    trials.daemon("tcp_is_no_operator", |fs| undisturbed(fs, no_operator));
    trials.daemon_between("handle_of_another_filesystem", foreign_handle);
    trials.daemon("client_that_never_reads", never_reads);
}

/// Runs a test of one bad client beside a good one.
fn undisturbed(filesystem: &Filesystem, bad: fn(&Daemon, &Scene) -> Result<()>) -> Result<()> {
    let daemon = filesystem.daemon()?;
    beside_a_bystander(filesystem, &daemon, |scene| bad(&daemon, scene))
}

fn beside_a_bystander(
    filesystem: &Filesystem,
    daemon: &Daemon,
    bad: impl FnOnce(&Scene) -> Result<()>,
) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("bystander")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut bystander = Listener::connect(&daemon.unix(), "bystander").await?;
        bystander.watch(vec![Watch::path(&file, 1)]).await?;
        bystander.quiet().await?;
        helper.write(&file)?;
        bystander.until_told(1, change::DATA).await?;
        bad(&scene)?;
        bystander.quiet().await?;
        helper.write(&file)?;
        bystander.until_told(1, change::DATA).await?;
        let notice =
            bystander.heard.iter().find(|notice| !matches!(notice, upcall_client::Notice::Upcall { .. }));
        ensure!(notice.is_none(), "the bystander was disturbed: {notice:?}");
        Ok(())
    })
}

/// Bytes that look like nothing, the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

fn random_bytes(daemon: &Daemon, _: &Scene) -> Result<()> {
    for address in [daemon.unix(), daemon.tcp()] {
        let mut raw = Raw::connect(&address)?;
        raw.send_bytes(&noise(4096))?;
        raw.ends_with(&[Code::FrameTooLarge, Code::ExpectedHello, Code::Malformed])?;
    }
    Ok(())
}

fn random_bytes_after_hello(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::welcomed(&daemon.unix(), "noise")?;
    raw.send_bytes(&noise(4096))?;
    raw.ends_with(&[Code::FrameTooLarge, Code::Malformed])?;
    // Noise where a body is expected.
    let mut raw = Raw::welcomed(&daemon.unix(), "noise")?;
    raw.send_bytes(&[100, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0])?;
    raw.send_bytes(&noise(100))?;
    raw.ends_with(&[Code::Malformed])
}

fn oversized(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::welcomed(&daemon.unix(), "oversized")?;
    raw.send_bytes(&(MAX_BODY + 1).to_le_bytes())?;
    raw.send_bytes(&[3, 0, 0, 0, 9, 0, 0, 0])?;
    raw.ends_with(&[Code::FrameTooLarge])
}

fn version(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::connect(&daemon.unix())?;
    let answer = raw.hello("from the future", 999)?;
    ensure!(matches!(answer, Message::Error { code: Code::Version, .. }), "{answer:?}");
    ensure!(raw.receive()?.is_none(), "the connection was not closed");
    Ok(())
}

fn no_hello(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::connect(&daemon.tcp())?;
    raw.send(&Message::Sync, 5)?;
    raw.ends_with(&[Code::ExpectedHello])
}

fn unknown_type(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::welcomed(&daemon.unix(), "unknown type")?;
    let answer = raw.ask(&Message::Unknown { kind: 4711, body: Bytes::from_static(b"what?") })?;
    ensure!(matches!(answer, Message::Error { code: Code::UnknownType, .. }), "{answer:?}");
    // The connection goes on.
    ensure!(raw.ask(&Message::Sync)? == Message::Synced, "no SYNCED");
    Ok(())
}

/// That registering one file fails with a code, while the file beside it is registered.
fn second_hello(daemon: &Daemon, _: &Scene) -> Result<()> {
    let mut raw = Raw::welcomed(&daemon.unix(), "twice")?;
    let answer = raw.hello("twice", VERSION)?;
    ensure!(matches!(answer, Message::Error { code: Code::ExpectedHello, .. }), "{answer:?}");
    ensure!(raw.receive()?.is_none(), "the connection goes on");
    Ok(())
}

fn descriptor_nobody_claims(daemon: &Daemon, scene: &Scene) -> Result<()> {
    let file = File::open(scene.file("passed")?)?;
    let mut raw = Raw::passing(&daemon.socket(), &file)?;
    raw.send(&Message::Ping(Bytes::new()), 2)?;
    raw.ends_with(&[Code::Malformed])
}

fn batch_too_large(daemon: &Daemon, scene: &Scene) -> Result<()> {
    let mut raw = Raw::welcomed(&daemon.unix(), "greedy")?;
    let answer = raw.ask(&Message::Unregister(vec![1; MAX_BATCH as usize + 1]))?;
    ensure!(matches!(answer, Message::Error { code: Code::BatchTooLarge, .. }), "{answer:?}");
    // The connection goes on.
    let file = scene.file("file")?;
    let made = raw.register(vec![path(&file)])?;
    ensure!(made.iter().all(|made| made.code == Code::Ok), "{made:?}");
    Ok(())
}

fn refused(raw: &mut Raw, target: Target, good: &Path, expected: Code) -> Result<()> {
    let outcomes = raw.register(vec![target, path(good)])?;
    let codes: Vec<Code> = outcomes.iter().map(|outcome| outcome.code).collect();
    ensure!(codes == [expected, Code::Ok], "the outcomes were {codes:?}, expected {expected}");
    Ok(())
}

fn path(path: &Path) -> Target {
    Target::Path(path.as_os_str().as_encoded_bytes().to_vec())
}

fn outside(daemon: &Daemon, scene: &Scene) -> Result<()> {
    let good = scene.file("good")?;
    let program = std::env::current_exe()?;
    let climbing = scene.path().join("..").join("..").join("..").join("..").join("..").join("..").join("etc");
    let mut raw = Raw::welcomed(&daemon.unix(), "outside")?;
    refused(&mut raw, path(&program), &good, Code::NotExported)?;
    refused(&mut raw, path(&climbing), &good, Code::NotExported)?;
    std::os::unix::fs::symlink(&program, scene.path().join("leads-out"))?;
    refused(&mut raw, path(&scene.path().join("leads-out")), &good, Code::NotExported)
}

fn unreadable(daemon: &Daemon, scene: &Scene) -> Result<()> {
    let (good, secret) = (scene.file("good")?, scene.file_with("secret", b"secret", 0o600)?);
    let mut nobody = Raw::welcomed(&daemon.tcp(), "nobody")?;
    refused(&mut nobody, path(&secret), &good, Code::NotPermitted)?;
    // The same file by its handle.
    let (handle_type, handle) = file_handle(&secret)?;
    let anchor = scene.path().as_os_str().as_encoded_bytes().to_vec();
    refused(&mut nobody, Target::Handle { anchor, handle_type, handle }, &good, Code::NotPermitted)?;
    let mut root = Raw::welcomed(&daemon.unix(), "root")?;
    let outcome = root.register(vec![path(&secret)])?;
    ensure!(outcome.first().is_some_and(|outcome| outcome.code.is_ok()), "root was refused: {outcome:?}");
    Ok(())
}

fn missing(daemon: &Daemon, scene: &Scene) -> Result<()> {
    let good = scene.file("good")?;
    let mut raw = Raw::welcomed(&daemon.tcp(), "missing")?;
    refused(&mut raw, path(&scene.path().join("no such directory")), &good, Code::NotFound)?;
    refused(&mut raw, path(&scene.path().join("no such directory/file")), &good, Code::NotFound)?;
    refused(&mut raw, path(Path::new("relative")), &good, Code::BadName)
}

fn no_operator(daemon: &Daemon, _: &Scene) -> Result<()> {
    for request in [Message::Status, Message::Events("{}".into())] {
        let answer = Raw::welcomed(&daemon.tcp(), "nobody")?.ask(&request)?;
        ensure!(matches!(answer, Message::Error { code: Code::NotPermitted, .. }), "{answer:?}");
    }
    Ok(())
}

fn foreign_handle(here: &Filesystem, there: &Filesystem) -> Result<()> {
    let daemon = Daemon::start(&[&here.root, &there.root], "")?;
    beside_a_bystander(here, &daemon, |scene| {
        let good = scene.file("good")?;
        let elsewhere = Scene::within(&there.root)?;
        let (handle_type, handle) = file_handle(&elsewhere.file("file")?)?;
        let anchor = scene.path().as_os_str().as_encoded_bytes().to_vec();
        let mut raw = Raw::welcomed(&daemon.unix(), "foreign handle")?;
        refused(&mut raw, Target::Handle { anchor, handle_type, handle }, &good, Code::StaleHandle)
    })
}

/// More upcalls than a socket's buffer takes.
const FILES: u64 = 4096;

fn never_reads(filesystem: &Filesystem) -> Result<()> {
    let daemon = Daemon::start(&[&filesystem.root], "stall_timeout_ms = 2000")?;
    let many = Scene::within(&filesystem.root)?;
    let files = many.many(FILES)?;
    let mut writer = Helper::start()?;
    beside_a_bystander(filesystem, &daemon, |_| {
        let mut lazy = Raw::welcomed(&daemon.unix(), "lazy")?;
        let outcomes = lazy.register(files.iter().map(|file| path(file)).collect())?;
        ensure!(outcomes.iter().all(|outcome| outcome.code.is_ok()), "not all files were registered");
        wait_for("the daemon to give the client up", || {
            writer.begin_touch(many.path(), 0, FILES)?;
            writer.finish()?;
            let status = daemon.status()?;
            let clients =
                status.pointer("/hub/clients").and_then(|it| it.as_array()).context("no clients")?;
            let gone = clients.iter().all(|client| client["name"] != "lazy");
            Ok(gone.then_some(()))
        })?;
        // It finds out when it reads at last.
        while lazy.receive()?.is_some() {}
        Ok(())
    })
}
