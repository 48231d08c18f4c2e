//! > 1,000,000 pwrites to one watched file from one process: the client gets far fewer upcalls than writes, the
//! > last upcall comes after the last write, and `status` accounts for every mark: marked = coalesced +
//! > delivered per client + suppressed.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use serde_json::Value;
use tests::{
    Result,
    daemon::Daemon,
    deadline::in_vm,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    scene::Scene,
};
use upcall_client::Watch;

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.above("many_writes_are_accounted_for", many_writes);
}

fn many_writes(filesystem: &Filesystem) -> Result<Completion> {
    let writes: u64 = if in_vm() { 20_000 } else { 1_000_000 };
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let daemon = Daemon::start(&[&filesystem.root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        listener.rest().await?;
        helper.begin_count(&file, writes)?;
        // A reader that reads after each upcall, and never otherwise. It does not ask for the attributes: then
        // the kernel would stamp the next write apart from this one, and the number depended on the speeds.
        let (reader, mut seen) = (File::open(&file)?, 0);
        while seen < writes {
            listener.next(&format!("an upcall after the last write; seen {seen}")).await?;
            seen = counter(&reader)?;
        }
        helper.finish()?;
        listener.rest_and_keep().await?;
        let upcalls = u64::try_from(listener.heard.len())?;
        let status = daemon.status()?;
        let exact = status["source"] == "fexit";
        // Where each write is stamped (btrfs), as many as the reader is fast: a small part, but a share of the
        // processor that differs from machine to machine.
        let most = if exact { writes - 1 } else { writes / 2 };
        ensure!((1..=most).contains(&upcalls), "{writes} writes made {upcalls} upcalls");
        println!("{}: {writes} writes, {upcalls} upcalls", filesystem.name);
        adds_up(&status)?;
        Ok(Completion::Completed)
    })
}

fn counter(file: &File) -> Result<u64> {
    let mut number = [0; 8];
    file.read_exact_at(&mut number, 0)?;
    Ok(u64::from_le_bytes(number))
}

/// With one client and one file, at rest.
fn adds_up(status: &Value) -> Result<()> {
    let hub = |path: &str| {
        let value = status.pointer(&format!("/hub/{path}")).and_then(Value::as_u64);
        value.with_context(|| format!("status has no hub/{path}: {status}"))
    };
    let client = |field: &str| {
        // The daemon's other client is `upcall status` itself.
        let clients = status.pointer("/hub/clients").and_then(Value::as_array).context("no clients")?;
        let reader = clients.iter().find(|client| client["name"] == "reader").context("no reader")?;
        reader[field].as_u64().with_context(|| format!("a client has no {field}: {status}"))
    };
    ensure!(client("pending")? == 0, "something is pending: {status}");
    let marked = client("marked")?;
    ensure!(hub("kernel/marked")? + hub("retold")? == marked, "marks got lost or were made up: {status}");
    let sum = client("delivered")? + client("coalesced")? + client("suppressed")?;
    ensure!(sum == marked, "{sum} of {marked} marks are accounted for: {status}");
    Ok(())
}
