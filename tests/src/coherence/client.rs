//! A process that watches a part of the tree, keeps what it has read, and compares it with the disk.

use std::{future::Future, io, time::Duration};

use anyhow::{Context, Result};
use fastrand::Rng;
use nix::sys::{prctl, signal::Signal};
use tokio::time::{Instant, sleep, timeout};
use upcall_client::{Address, Error, Notice, Options, Upcalls};

use super::{
    board::{Board, GLANCE, Phase},
    cache::Cache,
    compare, history,
    plan::Plan,
    post::{Equipment, Post},
    report::{Broken, Finding, Report},
    tree::{Subject, Tree},
};
use crate::{crew::say, deadline::patience, listener::block_on};

/// One step of so many is a new connection.
const RECONNECT: u32 = 300;
/// One client of so many is slow.
const SLOW: usize = 4;
/// And one of so many keeps nothing but contents.
const CONTENTS_ONLY: usize = 3;

pub(super) struct Client {
    pub(super) index: usize,
    pub(super) plan: Plan,
    pub(super) board: Board,
    pub(super) tree: Tree,
    pub(super) subjects: Vec<Subject>,
    pub(super) rng: Rng,
    pub(super) cache: Cache,
    pub(super) connection: upcall_client::Client,
    pub(super) unix: bool,
    pub(super) next_cookie: u64,
    address: Address,
    options: Options,
    upcalls: Upcalls,
    /// Heard and not acted upon.
    waiting: Vec<Notice>,
    slow: bool,
    /// It never asks for attributes, and holds open all that it watches.
    pub(super) contents_only: bool,
    /// How often it had been disconnected, and excused, when it looked at the last check and the one before.
    pub(super) known: [(u64, u64); 2],
}

pub(crate) fn run(post: &Post) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let Equipment { plan, board, tree, rng } = post.equip()?;
    let address: Address = post.address.parse()?;
    let contents_only = post.index % CONTENTS_ONLY == CONTENTS_ONLY - 1;
    let slow = post.index % SLOW == SLOW - 1;
    let options = Options {
        name: format!("client {}", post.index),
        connect_timeout: patience(),
        request_timeout: patience(),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        notice_capacity: if slow { 1 } else { 1024 },
        ..Options::default()
    };
    block_on(async {
        let (connection, upcalls) = connect(&address, &options).await?;
        let known = [(0, board.excuses(post.index)); 2];
        let mut client = Client {
            index: post.index,
            subjects: tree.subjects(),
            cache: Cache {
                uses_attrs: !contents_only && (post.index / 2).is_multiple_of(2),
                ..Cache::default()
            },
            unix: matches!(address, Address::Unix(_)),
            next_cookie: 1,
            waiting: Vec::new(),
            plan,
            board,
            tree,
            rng,
            connection,
            address,
            options,
            upcalls,
            slow,
            contents_only,
            known,
        };
        client.live().await?;
        Ok(say(&Report::Counts(client.cache.counts))?)
    })
}

/// The daemon may be down just now. To end, detach its programs and start anew may take as long each as anything else.
async fn connect(address: &Address, options: &Options) -> Result<(upcall_client::Client, Upcalls)> {
    let end = Instant::now() + patience() * 3;
    loop {
        match upcall_client::Client::connect(address, options.clone()).await {
            Err(_) if Instant::now() < end => sleep(options.backoff_max).await,
            connected => return connected.context("cannot connect"),
        }
    }
}

impl Client {
    async fn live(&mut self) -> Result<()> {
        let mut checked = 0;
        loop {
            match self.board.phase() {
                Phase::Over => return Ok(()),
                Phase::Pause(phase) if checked != phase && self.board.check_wanted(phase) => {
                    self.check(phase).await?;
                    self.fill().await?;
                    self.board.client_checked(self.index, phase);
                    checked = phase;
                }
                Phase::Pause(_) => self.listen(GLANCE).await?,
                Phase::Write(phase) => self.step(phase).await?,
            }
        }
    }

    async fn step(&mut self, phase: u64) -> Result<()> {
        match self.rng.u8(..100) {
            0..20 => self.register().await?,
            20..26 => self.unregister().await?,
            // A SYNC would make up for upcalls that do not come by themselves.
            26..46 if !compare::is_told(phase + 1) => {
                self.sync_and_compare(Broken::StaleWhileWriting).await?
            }
            46..48 if self.slow => sleep(Duration::from_millis(self.rng.u64(200..1200))).await,
            _ => {
                let time = Duration::from_millis(self.rng.u64(1..15));
                self.listen(time).await?;
            }
        }
        if self.rng.u32(..RECONNECT) == 0 {
            // Both connections exist for a moment, as when a program is replaced.
            (self.connection, self.upcalls) = connect(&self.address, &self.options).await?;
            self.waiting.clear();
            self.cache.entries.clear();
            self.cache.in_doubt = false;
        }
        self.listen(Duration::ZERO).await?;
        self.fill().await
    }

    /// Acts upon what has come, and comes within the time.
    pub(super) async fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(notice) = timeout(left, self.upcalls.next()).await else { break };
            self.waiting.push(notice.context("the client has stopped")?);
        }
        for notice in self.waiting.drain(..) {
            self.cache.hear(&notice);
        }
        Ok(())
    }

    /// Waits for an answer. What comes meanwhile is acted upon by the next [`Self::listen`].
    pub(super) async fn answer<T>(&mut self, answer: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                notice = self.upcalls.next() => self.waiting.push(notice.context("the client has stopped")?),
            }
        }
    }

    /// Whether everything told is now acted upon. If not, there is no connection.
    pub(super) async fn sync(&mut self) -> Result<bool> {
        let connection = self.connection.clone();
        let synced = self.answer(async move { connection.sync().await }).await?;
        self.listen(Duration::ZERO).await?;
        match synced {
            Ok(()) => {
                self.cache.counts.syncs += 1;
                Ok(!self.cache.in_doubt)
            }
            Err(Error::Disconnected | Error::NotReading | Error::TimedOut(_)) => {
                self.cache.counts.syncs_failed += 1;
                Ok(false)
            }
            Err(error) => Err(error).context("SYNC failed"),
        }
    }

    pub(super) fn find(&self, what: Broken, stage: Option<usize>, details: String) -> io::Result<()> {
        let history = stage.map_or_else(String::new, |stage| history::of(&self.board, stage));
        say(&Report::Finding(Finding { what, client: self.index, details, history }))
    }
}
