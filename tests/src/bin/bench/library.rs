//! A client that uses the client library, on a thread of its own.

use std::{
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{runtime::Builder, sync::oneshot};
use upcall_client::{Address, Client, Notice, Options, Watch};

/// Interests that one request makes.
pub const BATCH: usize = 10_000;

/// Registered until dropped.
#[derive(Debug)]
pub struct Library {
    /// The registration alone.
    pub took: Duration,
    _end: oneshot::Sender<()>,
}

impl Library {
    /// Returns once all is registered; `hear` gets the moment after each upcall, and its cookie.
    pub fn start(
        address: &Address,
        watches: Vec<Watch>,
        hear: impl FnMut(Instant, u64) + Send + 'static,
    ) -> Result<Self> {
        let (end, ended) = oneshot::channel();
        let (ready, registered) = mpsc::channel();
        let address = address.clone();
        thread::spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            if let Err(error) = runtime.block_on(listen(&address, watches, hear, &ready, ended)) {
                // Nobody waits for it once all is registered.
                let _ = ready.send(Err(error));
            }
        });
        let took = registered.recv().context("the client ended")??;
        Ok(Self { took, _end: end })
    }
}

async fn listen(
    address: &Address,
    watches: Vec<Watch>,
    mut hear: impl FnMut(Instant, u64),
    ready: &mpsc::Sender<Result<Duration>>,
    mut ended: oneshot::Receiver<()>,
) -> Result<()> {
    let options = Options { reconnect: false, name: "bench".into(), ..Options::default() };
    let (client, mut upcalls) = Client::connect(address, options).await?;
    let start = Instant::now();
    let mut watches = watches.into_iter().map(|watch| watch.include_own(true)).peekable();
    while watches.peek().is_some() {
        for outcome in client.register(watches.by_ref().take(BATCH).collect()).await? {
            outcome?;
        }
    }
    ready.send(Ok(start.elapsed())).context("nobody waits")?;
    loop {
        let notice = tokio::select! {
            notice = upcalls.next() => notice,
            _ = &mut ended => return Ok(()),
        };
        match notice {
            Some(Notice::Upcall { cookie, .. }) => hear(Instant::now(), cookie),
            Some(Notice::Disconnected { .. }) | None => bail!("the daemon has gone"),
            Some(_) => {}
        }
    }
}

/// A watch for each path; the cookie is its place.
pub fn watches(paths: &[PathBuf]) -> Vec<Watch> {
    paths.iter().zip(0..).map(|(path, cookie)| Watch::path(path, cookie)).collect()
}
