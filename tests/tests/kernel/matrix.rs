//! Every way to change something, on every filesystem, told over Unix and over TCP.

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use nix::errno::Errno;
use tests::{
    Result,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, cookies, told},
    op::{self, Op},
    scene::Scene,
    state::{Reader, State},
};
use tokio::time::Instant;
use upcall_client::{Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    for op in op::all() {
        trials.on_each(op.name, move |filesystem| case(filesystem, op));
    }
}

const NEIGHBOUR: u64 = 99;

fn case(filesystem: &Filesystem, op: &Op) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    op::set(&scene)?;
    let (subject, neighbour) = (scene.path().join(op.subject), scene.path().join("neighbour"));
    let daemon = filesystem.daemon()?;
    if let Some(source) = daemon.status()?["source"].as_str()
        && !op.is_seen(source, filesystem.name)
    {
        return Ok(Completion::ignored_with(format!("source {source} does not see it: README, Limits")));
    }
    let mut helper = Helper::start()?;
    let reader = Reader::open(&subject)?;
    block_on(async {
        let (mut unix, mut tcp) = (
            Listener::connect(&daemon.unix(), "unix").await?,
            Listener::connect(&daemon.tcp(), "tcp").await?,
        );
        for (listener, cookie) in [(&mut unix, 1), (&mut tcp, 2)] {
            let watches = vec![Watch::path(&subject, cookie), Watch::path(&neighbour, NEIGHBOUR)];
            let watches = watches.into_iter().map(|watch| watch.mask(change::ANY)).collect();
            listener.watch(watches).await?;
        }
        unix.rest().await?;
        tcp.quiet().await?;
        let before = reader.look()?;
        if let Err(errno) = helper.perform(op.name, scene.path())? {
            let error = Errno::from_raw(errno);
            ensure!(op::is_unsupported(errno), "the kernel refused the change: {error}");
            println!("{}: {} is not supported: {error}", filesystem.name, op.name);
            return Ok(Completion::ignored_with(format!("not supported: {error}")));
        }
        for (listener, cookie) in [(&mut unix, 1), (&mut tcp, 2)] {
            let seen = told_in_time(listener, cookie, op.expected, &reader).await?;
            let after = reader.look()?;
            ensure!(before != after, "nothing has changed");
            ensure!(seen == after, "a reader after the last upcall saw {seen:?} instead of {after:?}");
            let strange = cookies(&listener.heard).find(|of| *of != cookie);
            ensure!(strange.is_none(), "told of {strange:?}, which nobody has changed: {:?}", listener.heard);
        }
        Ok(Completion::Completed)
    })
}

/// What a reader saw after the last upcall.
async fn told_in_time(
    listener: &mut Listener,
    cookie: u64,
    expected: u32,
    reader: &Reader<'_>,
) -> Result<State> {
    let (begin, mut seen) = (Instant::now(), None);
    while told(&listener.heard, cookie) & expected != expected {
        let what = format!("{:?} of {:?}", change::names(expected).collect::<Vec<_>>(), begin.elapsed());
        listener.next(&what).await?;
        seen = Some(reader.look()?);
    }
    let before = listener.heard.len();
    listener.sync().await?;
    if listener.heard.len() > before {
        seen = Some(reader.look()?);
    }
    seen.context("there was no upcall")
}
