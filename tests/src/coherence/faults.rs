//! What befalls the daemon and its clients.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use nix::sys::signal::Signal;
use rustix::process::{Resource, Rlimit, prlimit};
use upcall_client::Address;
use upcall_common::wire::{Message, Target};

use super::{
    board::Board,
    plan::{Fault, Plan},
    post::{Post, Role},
    proxy::Proxy,
    tree::Tree,
    visitor::Visitor,
};
use crate::{crew::Crew, daemon::Daemon, raw::Raw};

/// Those that come and pass.
const MOMENTARY: [Fault; 7] =
    [Fault::Ring, Fault::Kill, Fault::Upgrade, Fault::Clients, Fault::Stop, Fault::Cut, Fault::Unmount];

/// What the daemon may take beyond what it has at the start, and all that it may have to itself: a few times what it
/// has with so few clients.
const MORE: u64 = 128 << 20;
const MOST_MEMORY: u64 = 64 << 20;

/// All that faults can befall.
pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) board: &'a Board,
    pub(crate) tree: &'a Tree,
    pub(crate) daemon: Daemon,
    pub(crate) crew: Crew<Post>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) visitor: Option<Visitor>,
    pub(crate) rng: Rng,
    /// Clients that never read.
    pub(crate) mute: Vec<Raw>,
    /// The daemon whose memory is limited.
    pub(crate) limited: u32,
    /// How often each has befallen.
    pub(crate) befallen: Vec<(Fault, u64)>,
}

/// Settings of the daemon by which faults can befall it.
pub(crate) fn settings(plan: &Plan, tree: &Tree) -> String {
    let mut settings = String::new();
    if plan.has(Fault::Ring) {
        settings += "dirty_ring_bytes = 4096\n";
    }
    if plan.has(Fault::Events) {
        settings += "event_ring_bytes = 4096\n";
    }
    if plan.has(Fault::Slots) {
        settings += &format!("slots = {}\n", tree.subjects().len() * 3 / 4);
    }
    settings
}

impl World<'_> {
    /// Lets faults befall for a time, one after the other.
    pub(crate) fn befall(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        self.stand()?;
        // Not every machine can make a filesystem to unmount.
        let here = |fault| fault != Fault::Unmount || self.visitor.is_some();
        let wanted = |fault: &Fault| self.plan.has(*fault) && here(*fault);
        let possible: Vec<_> = MOMENTARY.into_iter().filter(wanted).collect();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(self.rng.u64(100..1000))));
            if Instant::now() < end
                && let Some(fault) = self.rng.choice(possible.iter().copied())
            {
                self.one(fault).with_context(|| format!("fault `{}`", fault.name()))?;
                self.count(fault);
            }
        }
    }

    /// How the daemon's memory is bounded.
    pub(crate) fn check_memory(&self) -> Result<()> {
        let private = self.daemon.private_memory()?;
        ensure!(private <= MOST_MEMORY, "the daemon has {private} bytes to itself");
        Ok(())
    }

    fn count(&mut self, fault: Fault) {
        match self.befallen.iter_mut().find(|(of, _)| *of == fault) {
            Some((_, count)) => *count += 1,
            None => self.befallen.push((fault, 1)),
        }
    }

    /// Those that last.
    fn stand(&mut self) -> Result<()> {
        // What the daemon has made of them before is over with their connections, or with the daemon.
        self.mute.clear();
        if self.plan.has(Fault::Mute) {
            let mut mute = Raw::welcomed(&self.daemon.unix(), "mute")?;
            let target =
                |subject| Target::Path(self.tree.path(subject).into_os_string().into_encoded_bytes());
            let targets = self.tree.subjects().into_iter().map(target).collect();
            mute.register(targets)?;
            self.mute.push(mute);
            self.count(Fault::Mute);
        }
        if self.plan.has(Fault::Events) {
            let mut events = Raw::welcomed(&self.daemon.unix(), "never reads events")?;
            events.send(&Message::Events("{}".to_owned()), 1)?;
            self.mute.push(events);
            self.count(Fault::Events);
        }
        if self.plan.has(Fault::Memory) && self.limited != self.daemon.pid() {
            let most = Some(self.daemon.address_space()? + MORE);
            let pid = rustix::process::Pid::from_raw(self.daemon.pid().try_into()?);
            prlimit(pid, Resource::As, Rlimit { current: most, maximum: None })?;
            self.limited = self.daemon.pid();
            self.count(Fault::Memory);
        }
        Ok(())
    }

    fn one(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Ring => {
                self.daemon.signal(Signal::SIGSTOP)?;
                self.rest(100..400);
                self.daemon.signal(Signal::SIGCONT)
            }
            Fault::Kill => {
                self.excuse_all();
                self.daemon.restart()
            }
            Fault::Upgrade => {
                self.excuse_all();
                self.daemon.upgrade()
            }
            Fault::Clients => {
                let client = self.rng.usize(..self.plan.clients);
                let mut post = self.crew.kill(&Role::Client.named(client))?;
                post.life += 1;
                self.crew.start(post)
            }
            Fault::Stop => {
                let client = self.rng.usize(..self.plan.clients);
                self.crew.signal(&Role::Client.named(client), Signal::SIGSTOP)?;
                self.rest(500..2500);
                self.crew.signal(&Role::Client.named(client), Signal::SIGCONT)
            }
            Fault::Cut => {
                if let Some(proxy) = &self.proxy {
                    (1..self.plan.clients).step_by(2).for_each(|client| self.board.excuse(client));
                    proxy.cut();
                }
                Ok(())
            }
            Fault::Unmount => match &self.visitor {
                Some(visitor) => visitor.visit(&self.daemon.unix(), self.plan.has(Fault::Slots)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn excuse_all(&self) {
        (0..self.plan.clients).for_each(|client| self.board.excuse(client));
    }

    fn rest(&mut self, range: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.rng.u64(range)));
    }
}

/// Where a client connects: those of odd numbers over TCP.
pub(crate) fn address_of(client: usize, daemon: &Daemon, proxy: Option<&Proxy>) -> Address {
    match (client % 2, proxy) {
        (0, _) => daemon.unix(),
        (_, Some(proxy)) => proxy.address(),
        (_, None) => daemon.tcp(),
    }
}
