//! The task: waits for requests, the kernel and the clock, one thing at a time.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};
use upcall_common::{
    abi::Offsets,
    wire::{Means, StateAnswer, StateBegun},
};

use super::{
    Arbiter, Begin, Command, Switches,
    clients::Clients,
    convert::{keep, ms, said},
    files::Files,
    journal::Journal,
    kernel::{Event, Kernel},
    outside::{Change, Outside},
};
use crate::{
    access::Exports,
    events::SharedEvent,
    hold::{Break, break_time},
    hub::Hub,
    state::{self, Identity, LeaseKind, Table, Who},
};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub switches: Switches,
    pub table: state::Settings,
    /// Of the running kernel.
    pub offsets: Offsets,
}

/// The way to the task, and the task.
pub struct Started<F> {
    pub arbiter: Arbiter,
    pub task: F,
}

/// To be called in the runtime whose thread is to hear of broken leases.
pub fn start(
    settings: Settings,
    hub: &Arc<Hub>,
    exports: &Arc<Exports>,
    events: broadcast::Sender<SharedEvent>,
    gaps: watch::Receiver<u64>,
) -> anyhow::Result<Started<impl Future<Output = io::Result<()>> + Send + use<>>> {
    let Settings { switches, table, offsets } = settings;
    if switches.leases
        && let Some(before) = break_time::ensure(table.longest_recall())?
    {
        tracing::info!(before, "fs.lease-break-time is raised so that recalls end before it");
    }
    let outside = switches.leases.then(|| Outside::new(hub));
    let kernel = Kernel::new(switches, &offsets).context("cannot be told of broken leases")?;
    // What an earlier daemon held for clients is not known, not even whether there was one.
    let reclaim_until = Instant::now() + table.grace;
    let (arbiter, commands) = Arbiter::new();
    let task = Task {
        switches,
        exports: Arc::clone(exports),
        settings: table,
        reclaim_until,
        table: Table::new(table, first_number()?, Some(reclaim_until)),
        kernel,
        outside,
        files: Files::default(),
        clients: Clients::default(),
        events: JoinSet::new(),
        journal: Journal::new(events),
        gaps,
    };
    Ok(Started { arbiter, task: task.run(commands) })
}

/// An earlier daemon's numbers are lower: it gave out less than one in a microsecond.
fn first_number() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(since.as_micros())?)
}

pub(super) struct Task {
    /// On for some export.
    switches: Switches,
    pub(super) exports: Arc<Exports>,
    pub(super) settings: state::Settings,
    reclaim_until: Instant,
    pub(super) table: Table,
    pub(super) kernel: Kernel,
    pub(super) outside: Option<Outside>,
    pub(super) files: Files,
    pub(super) clients: Clients,
    /// What is under way elsewhere.
    pub(super) events: JoinSet<Event>,
    pub(super) journal: Journal,
    /// Changes whenever some changes may have gone unheard.
    gaps: watch::Receiver<u64>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> io::Result<()> {
        let mut others_first = false;
        loop {
            let changed = self.outside.as_ref().map(Outside::changed);
            let others = std::mem::take(&mut others_first);
            tokio::select! {
                // Somebody waits in the kernel.
                biased;
                broken = self.kernel.broken(), if !others => match broken? {
                    Some(broken) => self.broken(broken),
                    None => others_first = true,
                },
                Some(event) = self.events.join_next(), if !self.events.is_empty() => match event {
                    Ok(event) => self.event(event),
                    Err(error) => return Err(io::Error::other(error)),
                },
                () = optional(changed) => self.changed(),
                Ok(()) = self.gaps.changed() => self.distrust(),
                () = until(self.table.next_deadline()) => self.table.expire(Instant::now()),
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                () = tokio::task::yield_now(), if others => {}
            }
            self.carry_out();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin { begin, done } => self.begin(begin, done),
            Command::Ask { ask, done } => self.ask(ask, done),
            Command::Show { query, from, page } => {
                // Whoever asked may have gone.
                let _ = page.send(self.show(query, from));
            }
            Command::Summary { shown } => {
                let _ = shown.send(self.summary());
            }
        }
    }

    fn begin(&mut self, begin: Begin, done: oneshot::Sender<bool>) {
        let Begin { connection, link, identity, uid, name, tag, alive } = begin;
        let begun = self.table.begin(Identity(identity.0), uid, &name, connection, Instant::now());
        // Of a connection that is taken over from.
        self.carry_out();
        let (code, text) = said(&begun);
        let answer = StateAnswer::StateBegun(StateBegun {
            code,
            means: self.means(),
            recall_ms: ms(self.settings.recall),
            grace_ms: ms(self.settings.grace),
            reclaim_ms: ms(self.reclaim_until.saturating_duration_since(Instant::now())),
            text,
        });
        link.tell(&upcall_common::wire::Message::StateAnswer(answer), tag);
        if let Ok(client) = begun {
            self.clients.insert(client, connection, link);
            self.events.spawn(async move {
                // Nothing is ever sent: it ends with the session.
                let _ = alive.await;
                Event::Left(connection)
            });
        }
        // The session may have ended.
        let _ = done.send(begun.is_ok());
    }

    fn means(&self) -> Means {
        let Switches { leases, shares, locks } = self.switches;
        Means {
            leases,
            shares,
            locks,
            kernel_leases: self.kernel.leases(),
            kernel_denies: self.kernel.denies(),
            directories: self.kernel.delegates(),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Left(connection) => {
                if let Some((client, _)) = self.clients.remove(connection) {
                    self.table.disconnect(client, connection, Instant::now());
                }
            }
            Event::Kernel(outcome) => self.kernel_done(outcome),
        }
    }

    fn broken(&mut self, broken: Break) {
        let Some(inode) = self.files.leased(broken.lease) else { return };
        self.journal.totals.broken += 1;
        #[cfg(feature = "sabotage")]
        if crate::sabotage::yields_lease() {
            self.set_lease(inode, None);
        }
        let who = broken.by.map_or(Who::Unknown, Who::Process);
        self.table.lease_breaks(inode, keep(broken.keep), who, Instant::now());
    }

    /// Whatever a lease is to keep away may have come unheard.
    fn distrust(&mut self) {
        let followed = self.files.iter().filter(|(_, file)| file.interest.is_some()).map(|(inode, _)| inode);
        for inode in followed.collect::<Vec<_>>() {
            self.table.outside(inode, state::Keep::None, |_| false, Who::Unknown, Instant::now());
        }
    }

    fn changed(&mut self) {
        let Some(outside) = &self.outside else { return };
        for Change { inode, beside, ended, by } in outside.take() {
            let Some(file) = self.files.get_mut(inode) else { continue };
            if ended {
                file.interest = None;
            }
            // Beside a write lease it is the holder's doing. A read lease lets `open` truncate, if it is for reading.
            let held = file.lease.is_some()
                && (self.table.kernel_holds(inode, LeaseKind::Write) || !file.has_other_size());
            if beside || !held {
                let clients = &self.clients;
                let own = |client| {
                    let link = clients.link(client);
                    link.zip(by).is_some_and(|(link, pid)| outside.is_process(link, pid))
                };
                let who = by.map_or(Who::Unknown, Who::Process);
                self.table.outside(inode, state::Keep::None, own, who, Instant::now());
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

async fn optional(wait: Option<impl Future<Output = ()>>) {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

/// So that a scan of `/proc` keeps no request for long.
pub(super) const SCAN: Duration = Duration::from_secs(2);
