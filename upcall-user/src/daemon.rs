//! The daemon: puts the parts together, runs until it is told to end, and drains.

use std::{io, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{broadcast, mpsc, watch},
};

use crate::{
    access::{Export, Exports, Principal},
    arbiter,
    config::Config,
    dispatch,
    events::{self, EventSwitch},
    hub::{Hub, Limits, Pace},
    logging, mounts,
    names::{self, Namer},
    server::{Gaps, Listeners, Outlets, STEPS_AT_ONCE, Service},
    source::{self, Loaded, PinError, Pins, Sizes, Takeover},
    state::Switches,
    sys::{clock, credentials, memory, readiness},
    unmount,
};

/// Runs the daemon to its end.
pub fn run(config: &Config) -> Result<()> {
    config.validate()?;
    logging::init(&config.log, config.log_format)?;
    let missing = source::missing_capabilities(config.exports.iter().any(|export| export.switches.leases));
    ensure!(
        missing.is_empty(),
        "upcall daemon needs the capabilities {}; run it as root",
        missing.join(", ")
    );
    let exports = Exports::open(&config.exports)?;
    let tcp_principal = Principal::of_user(&config.tcp_user).context("the configured tcp_user")?;
    // The directory that it was started in must not keep a filesystem mounted.
    let unix = std::path::absolute(&config.unix).context("the configured unix socket")?;
    let mut config = Config { unix, ..config.clone() };
    if let Some(pin) = config.pin() {
        config.pin = std::path::absolute(pin).context("the configured pin directory")?;
    }
    let config = &config;
    std::env::set_current_dir("/").context("cannot change to the root directory")?;
    raise_descriptor_limit();
    let sizes = Sizes {
        slots: config.slots,
        dirty_ring_bytes: config.dirty_ring_bytes,
        event_ring_bytes: config.event_ring_bytes,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // What one connection waits for, however long, keeps no other one waiting.
        .max_blocking_threads(most_connections(config) * STEPS_AT_ONCE + SPARE)
        .build()?;
    // Before anything is pinned: whoever ends the daemon now must not leave it behind.
    let end = runtime.block_on(async { End::new() })?;
    let pins = open_pins(config)?;
    let loaded = source::load(config.source, sizes, logging::bpf_level(), pins.as_ref(), new_epoch()?)?;
    // To find the kernel's structures took most of what the allocator has by now.
    memory::trim();
    let hub = runtime.block_on(serve(config, exports, tcp_principal, loaded, end))?;
    if let Some(pins) = pins {
        end_pins(pins, &hub)?;
    }
    Ok(())
}

/// The signals that ask the daemon to end.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Where maps and programs are to be pinned; `None`, with a warning, where they cannot be.
fn open_pins(config: &Config) -> Result<Option<Pins>> {
    let Some(dir) = config.pin() else { return Ok(None) };
    match Pins::open(dir) {
        Ok(pins) => Ok(Some(pins)),
        Err(error @ PinError::NotBpf(_)) => {
            tracing::warn!(%error, "nothing is marked while the daemon is down: after a restart all clients resync");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is watched stays so until the next daemon; if nothing is, nothing stays.
fn end_pins(pins: Pins, hub: &Hub) -> Result<()> {
    match hub.is_empty() {
        true => pins.remove().map(drop)?,
        false => tracing::info!("watched inodes go on being marked; `upcall detach` ends that"),
    }
    Ok(())
}

async fn serve(
    config: &Config,
    exports: Exports,
    tcp_principal: Principal,
    loaded: Loaded,
    mut asked_to_end: End,
) -> Result<Arc<Hub>> {
    let Loaded {
        source,
        net,
        lost,
        attached,
        skips,
        offsets,
        kernel,
        slots,
        dirty,
        events: event_ring,
        log,
        epoch,
        pinned,
        takeover,
    } = loaded;
    for lost in &lost {
        tracing::warn!(hook = lost.program.name(), why = lost.why, "hook not at work");
    }
    let about = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "source": source.name(),
        "safety_net": net,
        "epoch": epoch,
        "pin": config.pin().filter(|_| pinned).map(|pin| pin.display().to_string()),
        "took_over": takeover.is_some(),
        "exports": exports.roots().iter().map(export).collect::<Vec<_>>(),
        "hooks": attached.iter().map(|program| program.name()).collect::<Vec<_>>(),
        "lost": lost.iter().map(|lost| json!({"hook": lost.program.name(), "why": lost.why})).collect::<Vec<_>>(),
        "unix": config.unix.display().to_string(),
        "tcp": config.tcp.map(|address| address.to_string()),
    });
    let flags = kernel.flags();
    let (table, follow_table) = mounts::watch().context("watching the mount table")?;
    let limits = Limits { clients: config.clients, interests_per_client: config.interests_per_client };
    let tick = clock::coarse_resolution_ns()?;
    let hub = Arc::new(Hub::new(
        Box::new(kernel),
        slots,
        Pace { tick, volatile: config.volatile(), grace: config.grace() },
        limits,
    ));
    let exports = Arc::new(exports);
    let (event_sender, _) = broadcast::channel(events::BACKLOG);
    let (end, shutdown) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel::<()>(1);

    let in_initial_pid_namespace = credentials::in_initial_pid_namespace();
    if !in_initial_pid_namespace {
        tracing::warn!("not in the initial pid namespace: clients are told of their own changes, too");
    }
    let listeners = Listeners::bind(&config.unix, config.tcp).await?;
    let gaps = Arc::new(Gaps::new(skips, Arc::clone(&hub)));
    take_over(&hub, takeover)?;
    gaps.look(false).await;
    let (namer, released) = Namer::new(Arc::clone(&exports))?;
    let namer = Arc::new(namer);
    let outlets = Arc::new(Outlets::default());
    let (arbiter, arbitrating) = match exports.switches() {
        switches if switches.any() => {
            let arbiter::Started { arbiter, task } = arbiter::start(
                arbiter::Settings { switches, table: config.state(), offsets },
                &hub,
                &exports,
                event_sender.clone(),
                gaps.subscribe(),
            )?;
            (Some(arbiter), Some(task))
        }
        _ => (None, None),
    };
    let service = Arc::new(Service {
        hub: Arc::clone(&hub),
        exports: Arc::clone(&exports),
        namer: Arc::clone(&namer),
        outlets: Arc::clone(&outlets),
        arbiter,
        tcp_principal,
        epoch,
        events: event_sender.clone(),
        event_switch: EventSwitch::new(flags.clone()),
        gaps: Arc::clone(&gaps),
        about,
        hello_timeout: Duration::from_millis(config.hello_timeout_ms),
        stall_timeout: Duration::from_millis(config.stall_timeout_ms),
        in_initial_pid_namespace,
        pinned,
        shutdown,
    });
    tokio::spawn(look_for_gaps(gaps));
    let mut follower = tokio::spawn(follow_table);
    let mut keeper = tokio::spawn(unmount::run(Arc::clone(&hub), Arc::clone(&exports), table.clone()));
    let mut dispatcher =
        tokio::spawn(dispatch::run(dirty, flags, Arc::clone(&hub), exports, Arc::clone(&namer), outlets));
    let mut naming = tokio::spawn(names::run(namer, released, Arc::clone(&hub)));
    let mut arbitrating = tokio::spawn(optional(arbitrating));
    let mut reader = tokio::spawn(events::run(event_ring, Arc::clone(&hub), table, event_sender));
    if let Some(log) = log {
        tokio::spawn(logging::forward(readiness::readable(log)?));
    }
    tracing::info!(
        source = source.name(),
        hooks = attached.len(),
        unix = %config.unix.display(),
        tcp = listeners.tcp_address().map(tracing::field::display),
        "listening"
    );
    notify(&[sd_notify::NotifyState::Ready]);

    let outcome = tokio::select! {
        () = asked_to_end.recv() => Ok(()),
        () = listeners.serve(service, most_connections(config), alive) => Ok(()),
        failed = &mut dispatcher => failed.map_err(anyhow::Error::from).and_then(|it| it.context("reading the dirty ring")),
        failed = &mut follower => failed.map_err(anyhow::Error::from).and_then(|it| it.context("watching the mount table")),
        failed = &mut keeper => failed.map_err(anyhow::Error::from).and_then(|it| it.context("following the mount table")),
        failed = &mut naming => failed.map_err(anyhow::Error::from).and_then(|it| it.context("reading the names of entries")),
        failed = &mut arbitrating => failed.map_err(anyhow::Error::from).and_then(|it| it.context("holding state for clients")),
        failed = &mut reader => failed.map_err(anyhow::Error::from).and_then(|it| it.context("reading the event ring")),
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("ending");
    // Sessions send what waits, then go. Those that do not in time are cut off.
    end.send_replace(true);
    if tokio::time::timeout(config.drain(), all_gone.recv()).await.is_err() {
        tracing::warn!("clients did not read what waited for them in time");
    }
    outcome.map(|()| hub)
}

/// For `upcall status`.
fn export(export: &Export) -> Value {
    let Switches { leases, shares, locks } = export.switches();
    json!({"path": export.path().display().to_string(), "leases": leases, "shares": shares, "locks": locks})
}

/// Runs what is enabled; never resolves otherwise.
async fn optional(task: Option<impl Future<Output = io::Result<()>>>) -> io::Result<()> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// Inodes that an earlier daemon watched, and what was marked since its end.
fn take_over(hub: &Hub, takeover: Option<Takeover>) -> Result<()> {
    let Some(Takeover { gap, since }) = takeover else { return Ok(()) };
    let inodes = hub.adopt(gap, since).context("taking over what an earlier daemon watched")?;
    hub.scan();
    tracing::info!(inodes, gap, "took over what an earlier daemon watched");
    Ok(())
}

/// Gaps are rare, and SYNC looks for itself.
const GAP_LOOK: Duration = Duration::from_secs(5);

async fn look_for_gaps(gaps: Arc<Gaps>) {
    loop {
        tokio::time::sleep(GAP_LOOK).await;
        gaps.look(true).await;
    }
}

/// Connections beyond the clients that there may be, so that one too many is told why it is refused; and
/// threads beyond those of connections, for the daemon itself.
const SPARE: usize = 64;

fn most_connections(config: &Config) -> usize {
    config.clients + SPARE
}

/// A number that no earlier life of the slots had: versions compare only under the same.
fn new_epoch() -> Result<u64> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// A batch of registrations opens as many files as it names.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    // Not under systemd: nobody to tell.
    let _ = sd_notify::notify(false, state);
}
