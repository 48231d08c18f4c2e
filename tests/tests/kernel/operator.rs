//! What the operator's subcommands show.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{
    Result,
    deadline::wait_for,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    op, program,
    scene::Scene,
};
use upcall_client::Watch;

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.kernel("debug_shows_who_changed_what", debug);
    trials.kernel("doctor_names_the_source_that_runs", doctor);
    trials.daemon("watch_prints_registrations_and_upcalls", watch);
}

/// > `upcall debug` in one terminal shows a `dd` and a `chmod` from another with pid, comm, operation and path.
fn debug(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    op::set(&scene)?;
    let file = scene.path().join("file");
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        let mut command = Command::new(program::upcall()?);
        command.args(["debug", "--json", "--connect", &daemon.unix().to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = lines(BufReader::new(child.stdout.take().context("no output")?));
        let shown = ["write", "chmod"].map(|op| {
            // Until the stream has begun nothing is shown, and nothing says that it has: try again.
            wait_for(&format!("a {op} to be shown"), || {
                helper.perform(op, scene.path())?.map_err(std::io::Error::from_raw_os_error)?;
                find(&lines, &helper, op)
            })
        });
        child.kill()?;
        child.wait()?;
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", helper.pid()))?;
        for event in shown {
            check(&event?, &file, comm.trim_end())?;
        }
        Ok(())
    })
}

fn lines(output: impl BufRead + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    lines
}

fn find(lines: &Receiver<String>, helper: &Helper, op: &str) -> Result<Option<Value>> {
    for line in lines.try_iter() {
        let event: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
        if event["pid"] == helper.pid() && event["op"] == op {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

fn check(event: &Value, file: &Path, comm: &str) -> Result<()> {
    let path = event["path"].as_str().with_context(|| format!("no path: {event}"))?;
    ensure!(file.ends_with(path.trim_start_matches('/')), "another path: {event}");
    ensure!(event["comm"] == comm, "another comm: {event}");
    ensure!(event["interested"] == 1, "one client is interested: {event}");
    ensure!(event["uid"] == 0, "another user: {event}");
    Ok(())
}

fn doctor(filesystem: &Filesystem) -> Result<()> {
    let daemon = filesystem.daemon()?;
    let status = daemon.status()?;
    let running = status["source"].as_str().context("status has no source")?;
    let lines = program::json_lines(["doctor", "--json"])?;
    let named = lines.iter().find_map(|line| line["source"].as_str());
    ensure!(named == Some(running), "doctor names {named:?}, but {running} runs: {lines:?}");
    Ok(())
}

fn watch(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    let mut command = Command::new(program::upcall()?);
    command.args(["watch", "--json", "--connect", &daemon.tcp().to_string(), "--count", "1"]).arg(&file);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut line = || -> Result<Value> {
        let line = lines.next().context("no more lines")??;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))
    };
    let registered = line()?;
    let said = registered.to_string();
    ensure!(said.contains(&*file.to_string_lossy()), "the registration names another file: {said}");
    helper.write(&file)?;
    let upcall = line()?.to_string();
    ensure!(upcall.contains("DATA"), "the upcall names no DATA: {upcall}");
    let status = wait_for("`upcall watch` to end", || Ok(child.try_wait()?))?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}
