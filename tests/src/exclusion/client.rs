//! One client: holds, gives back, comes back, and says on the board what it believes to hold.

use std::{collections::HashMap, future::Future, pin::pin, rc::Rc, task::Poll, time::Duration};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use tokio::{
    task::unconstrained,
    time::{Instant, sleep, timeout},
};
use upcall_client::{
    Access, Address, Code, Deny, Error, Identity, ItemError, Keep, LeaseKind, Notice, Options, StateClient,
    StateNotice, Upcalls,
};

use super::{
    board::{Board, End},
    claim::{CELLS, Claim},
    clients::RETRY,
    holding::{Holding, Recall, Subject},
    plan::{Plan, RECALL},
    post::{Counts, Post, Report},
};
use crate::{crew::say, deadline::patience};

pub(super) struct Client {
    pub(super) post: Post,
    pub(super) member: usize,
    /// How many there are.
    pub(super) clients: usize,
    pub(super) board: Rc<Board>,
    pub(super) rng: Rng,
    pub(super) address: Address,
    pub(super) options: Options,
    pub(super) identity: Identity,
    pub(super) connection: upcall_client::Client,
    pub(super) state: StateClient,
    pub(super) connected: bool,
    upcalls: Upcalls,
    /// By file; one open of each at most.
    pub(super) holdings: Vec<Option<Holding>>,
    pub(super) waits: HashMap<u64, Wait>,
    /// Outcomes that have come before the answer that says what they are of.
    early: HashMap<u64, Outcome>,
    /// Rises with each loss that is told.
    losses: u64,
    pub(super) counts: Counts,
}

/// A request that waits.
pub(super) struct Wait {
    pub(super) since: Instant,
    pub(super) cancel: Instant,
    pub(super) what: Waited,
}

pub(super) enum Waited {
    Open { file: usize, subject: Subject, access: Access, deny: Deny },
    Lock { file: usize, cells: std::ops::Range<u64>, kind: u8 },
}

type Outcome = Result<(u64, bool), ItemError>;

/// What came of a request.
pub(super) enum Said<T> {
    Yes(T),
    /// Granted, but a loss was told meanwhile, perhaps of this.
    Doubtful(T),
    No,
    /// The connection is.
    Gone,
}

impl Client {
    /// `None`: the run is over before it could begin.
    pub(super) async fn begin(
        post: &Post,
        board: Rc<Board>,
        member: usize,
        limit: Duration,
    ) -> Result<Option<Self>> {
        let address: Address = post.address.parse()?;
        let options = Options {
            name: format!("client {member}"),
            connect_timeout: patience(),
            request_timeout: patience() * 2,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(200),
            ..Options::default()
        };
        let mut identity = [0; 16];
        let (number, life) = identity.split_at_mut(8);
        number.copy_from_slice(&(member as u64).to_le_bytes());
        // Every other one that takes the place of one that was killed is the same to the daemon.
        life.copy_from_slice(&(post.life / 2).to_le_bytes());
        let identity = Identity(identity);
        let end = Instant::now() + limit;
        loop {
            if board.is_over() {
                return Ok(None);
            }
            let tried = async {
                let (connection, upcalls) = upcall_client::Client::connect(&address, options.clone()).await?;
                let state = connection.begin_state(identity).await?;
                Ok::<_, Error>((connection, upcalls, state))
            };
            let (connection, upcalls, state) = match tried.await {
                Ok(begun) => begun,
                // The daemon may be down.
                Err(_) if Instant::now() < end => {
                    sleep(RETRY).await;
                    continue;
                }
                Err(error) => return Err(error).context("cannot begin"),
            };
            let Plan { clients, files, .. } = post.plan()?;
            return Ok(Some(Self {
                rng: post.rng(member)?,
                post: post.clone(),
                member,
                clients,
                board,
                address,
                options,
                identity,
                connection,
                state,
                connected: true,
                upcalls,
                holdings: (0..files).map(|_| None).collect(),
                waits: HashMap::new(),
                early: HashMap::new(),
                losses: 0,
                counts: Counts::default(),
            }));
        }
    }

    /// Listens for a while.
    pub(super) async fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            match tokio::time::timeout_at(end, self.upcalls.next()).await {
                Ok(notice) => self.note(notice.context("the client has stopped")?)?,
                Err(_) => return self.drain().await,
            }
        }
    }

    /// Waits for an answer, and takes in all that was told before it.
    pub(super) async fn ask<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<Said<T>> {
        let (losses, lost) = (self.losses, self.counts.lost);
        let mut answer = pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                notice = self.upcalls.next() => self.note(notice.context("the client has stopped")?)?,
                answer = &mut answer => break answer,
            }
        };
        self.drain().await?;
        self.board.count(self.member);
        match answer {
            Ok(granted) if self.losses != losses => Ok(Said::Doubtful(granted)),
            Ok(granted) => {
                self.tell_ends()?;
                Ok(Said::Yes(granted))
            }
            Err(Error::Refused { code, message }) => {
                self.tell_ends()?;
                self.counts.refused += 1;
                // The open may have been lost meanwhile, of which it has been told by now.
                let is_explained = code == Code::NotOpen && self.counts.lost != lost;
                if is_odd(code) && !is_explained {
                    self.find(format!("refused: {message} ({code})"))?;
                }
                Ok(Said::No)
            }
            Err(error @ (Error::TimedOut(_) | Error::NotReading | Error::Protocol(_))) => {
                self.find(error.to_string())?;
                self.excuse_all();
                Ok(Said::Gone)
            }
            Err(_) => {
                self.excuse_all();
                Ok(Said::Gone)
            }
        }
    }

    async fn drain(&mut self) -> Result<()> {
        loop {
            let notice = {
                let mut next = pin!(unconstrained(self.upcalls.next()));
                std::future::poll_fn(|context| {
                    Poll::Ready(match next.as_mut().poll(context) {
                        Poll::Ready(notice) => Some(notice),
                        Poll::Pending => None,
                    })
                })
                .await
            };
            match notice {
                Some(notice) => self.note(notice.context("the client has stopped")?)?,
                None => return Ok(()),
            }
        }
    }

    pub(super) fn find(&self, what: String) -> Result<()> {
        Ok(say(&Report::Finding(format!("client {}: {what}", self.member)))?)
    }

    /// Says on the board what it holds of a file. What it claimed before ends so; by its will unless told otherwise in time.
    pub(super) fn publish(&mut self, file: usize, claim: Claim, end: Option<End>) -> Result<()> {
        let Some(holding) = self.holdings.get_mut(file).and_then(Option::as_mut) else { return Ok(()) };
        let number = self.board.claim(self.member, file, holding.subject.inode, claim);
        match end {
            Some(end) => self.board.tell_end(self.member, file, number, end),
            None => holding.untold.push(number),
        }
        for suspicion in self.board.suspect(self.member, file) {
            say(&Report::Suspicion(suspicion))?;
        }
        Ok(())
    }

    /// Nothing was told that would excuse it.
    fn tell_ends(&mut self) -> Result<()> {
        let mut changed = Vec::new();
        for (file, holding) in self.holdings.iter_mut().enumerate() {
            let Some(holding) = holding else { continue };
            for number in holding.untold.drain(..) {
                self.board.tell_end(self.member, file, number, End::Willed);
            }
            changed.extend(holding.changed.take().map(|what| format!("file {file} was changed: {what}")));
        }
        changed.into_iter().try_for_each(|what| self.find(what))
    }

    /// What it claims of a file may have been taken from it by now.
    pub(super) fn excuse(&mut self, file: usize, left: Claim) -> Result<()> {
        self.losses += 1;
        let Some(holding) = self.holdings.get_mut(file).and_then(Option::as_mut) else { return Ok(()) };
        holding.changed = None;
        for number in holding.untold.drain(..) {
            self.board.tell_end(self.member, file, number, End::Excused);
        }
        self.publish(file, left, Some(End::Excused))
    }

    /// What came of a request is not known: nothing is claimed of that file any more, and it is closed as soon as can be.
    pub(super) fn spoil(&mut self, file: usize) -> Result<()> {
        let Some(holding) = self.holdings.get_mut(file).and_then(Option::as_mut) else { return Ok(()) };
        (holding.held, holding.spoiled) = (Claim::default(), true);
        (holding.stamp, holding.recall) = (None, None);
        self.excuse(file, Claim::default())
    }

    /// The connection is gone: nothing is claimed until it is back.
    fn excuse_all(&mut self) {
        self.losses += 1;
        for (file, holding) in self.holdings.iter_mut().enumerate() {
            let Some(holding) = holding else { continue };
            // A recall that goes on is sent again; a daemon that was restarted knows of none.
            (holding.changed, holding.recall) = (None, None);
            let number = self.board.claim(self.member, file, holding.subject.inode, Claim::default());
            for number in holding.untold.drain(..).chain([number]) {
                self.board.tell_end(self.member, file, number, End::Excused);
            }
        }
        self.connected = false;
    }

    fn file_of(&self, open: u64) -> Option<usize> {
        self.holdings.iter().position(|holding| holding.as_ref().is_some_and(|it| it.open == open))
    }

    fn note(&mut self, notice: Notice) -> Result<()> {
        match notice {
            Notice::State(notice) => self.note_state(notice),
            Notice::Disconnected { .. } => {
                self.excuse_all();
                Ok(())
            }
            Notice::Reconnected => self.reconnected(),
            _ => Ok(()),
        }
    }

    /// What was not told to be lost is held again. What has changed in between was not under the lease.
    fn reconnected(&mut self) -> Result<()> {
        self.connected = true;
        for file in 0..self.holdings.len() {
            let Some(holding) = self.holdings.get_mut(file).and_then(Option::as_mut) else { continue };
            self.counts.reclaimed += 1;
            holding.stamp = if holding.held.lease == 0 { None } else { Some(holding.subject.stamp()?) };
            let held = holding.held;
            self.publish(file, held, Some(End::Excused))?;
        }
        Ok(())
    }

    fn note_state(&mut self, notice: StateNotice) -> Result<()> {
        match notice {
            StateNotice::Recall { open, keep, deadline, .. } => {
                self.counts.recalls += 1;
                let now = Instant::now();
                let (prompt, ms) = (self.rng.u8(..10) < 8, self.rng.u64(0..200));
                let wait = if prompt { Duration::from_millis(ms) } else { RECALL * 3 };
                let extend = self.rng.u8(..10) == 0;
                if let Some(file) = self.file_of(open)
                    && let Some(holding) = &mut self.holdings[file]
                {
                    let deadline = now + deadline;
                    let keeps_read = keep == Keep::Read;
                    holding.recall = Some(Recall { deadline, answer: now + wait, keeps_read, extend });
                }
                Ok(())
            }
            StateNotice::Revoked { open, .. } => {
                self.counts.revoked += 1;
                self.leases_lost(open, |holding| (holding.reads, holding.writes) = (0, 0))
            }
            StateNotice::LeaseLost { open, kind, .. } => {
                self.counts.lost += 1;
                self.leases_lost(open, |holding| {
                    let leases = holding.leases(kind);
                    *leases = leases.saturating_sub(1);
                })
            }
            StateNotice::OpenLost { open, .. } => {
                self.counts.lost += 1;
                let Some(file) = self.file_of(open) else { return Ok(()) };
                self.excuse(file, Claim::default())?;
                self.holdings[file] = None;
                Ok(())
            }
            StateNotice::LockLost { open, start, length, .. } => {
                self.counts.lost += 1;
                let Some(file) = self.file_of(open) else { return Ok(()) };
                if let Some(holding) = &mut self.holdings[file] {
                    (start..(start + length).min(CELLS)).for_each(|cell| holding.held.set_lock(cell, 0));
                }
                // It comes before the connection counts as back, when nothing is claimed.
                self.excuse(file, Claim::default())
            }
            StateNotice::OpenGranted { request, outcome, .. } => {
                let outcome = outcome.map(|opened| (opened.open, opened.advisory));
                self.ended(request, outcome)
            }
            StateNotice::LockGranted { request, open, outcome, .. } => {
                self.ended(request, outcome.map(|held| (open, held.advisory)))
            }
            _ => Ok(()),
        }
    }

    fn leases_lost(&mut self, open: u64, lose: impl FnOnce(&mut Holding)) -> Result<()> {
        let Some(file) = self.file_of(open) else {
            self.losses += 1;
            return Ok(());
        };
        let Some(holding) = &mut self.holdings[file] else { return Ok(()) };
        lose(holding);
        holding.count_leases();
        // Of what it is about to give up it claims nothing any more.
        let mut left = self.board.claimed(self.member, file);
        left.lease = left.lease.min(holding.held.lease);
        self.excuse(file, left)
    }

    /// Notes what is waited for; its outcome may be here already.
    pub(super) fn wait(&mut self, request: u64, what: Waited, patience_of_client: Duration) -> Result<()> {
        let since = Instant::now();
        self.waits.insert(request, Wait { since, cancel: since + patience_of_client, what });
        match self.early.remove(&request) {
            Some(outcome) => self.ended(request, outcome),
            None => Ok(()),
        }
    }

    fn ended(&mut self, request: u64, outcome: Outcome) -> Result<()> {
        let Some(Wait { what, .. }) = self.waits.remove(&request) else {
            self.early.insert(request, outcome);
            return Ok(());
        };
        match (what, outcome) {
            (Waited::Open { file, subject, access, deny }, Ok((open, _))) => {
                self.opened(file, Holding::new(subject, open, access, deny))
            }
            (Waited::Lock { file, cells, kind }, outcome) => {
                let Some(holding) = self.holdings.get_mut(file).and_then(Option::as_mut) else {
                    return Ok(());
                };
                holding.waits = false;
                match outcome {
                    Ok((open, false)) if open == holding.open && !holding.spoiled => {
                        self.locked(file, cells, kind)
                    }
                    _ => Ok(()),
                }
            }
            (Waited::Open { .. }, Err(_)) => Ok(()),
        }
    }

    pub(super) fn opened(&mut self, file: usize, holding: Holding) -> Result<()> {
        self.counts.opens += 1;
        let held = holding.held;
        self.holdings[file] = Some(holding);
        self.publish(file, held, Some(End::Willed))
    }

    pub(super) fn locked(&mut self, file: usize, cells: std::ops::Range<u64>, kind: u8) -> Result<()> {
        self.counts.locks += 1;
        let Some(holding) = &mut self.holdings[file] else { bail!("a lock of nothing") };
        cells.for_each(|cell| holding.held.set_lock(cell, kind));
        let held = holding.held;
        self.publish(file, held, None)
    }

    pub(super) fn leased(&mut self, file: usize, kind: LeaseKind) -> Result<()> {
        self.counts.leases += 1;
        let Some(holding) = &mut self.holdings[file] else { bail!("a lease of nothing") };
        *holding.leases(kind) += 1;
        holding.count_leases();
        if holding.stamp.is_none() {
            holding.stamp = Some(holding.subject.stamp()?);
        }
        let held = holding.held;
        self.publish(file, held, None)
    }

    /// Another connection of the same identity takes over, and goes.
    pub(super) async fn rob(&mut self) -> Result<()> {
        let (address, options, identity) = (self.address.clone(), self.options.clone(), self.identity);
        let thief = async move {
            let (thief, _upcalls) = upcall_client::Client::connect(&address, options).await?;
            thief.begin_state(identity).await
        };
        // It may find no daemon.
        let _ = timeout(patience(), thief).await;
        Ok(())
    }
}

/// Nothing that a client does here is a reason for these.
fn is_odd(code: Code) -> bool {
    matches!(
        code,
        Code::Malformed
            | Code::UnknownType
            | Code::NotPermitted
            | Code::BadTarget
            | Code::Internal
            | Code::NotBegun
            | Code::IdentityInUse
            | Code::Disabled
            | Code::NotOpen
            | Code::NotHeld
            | Code::BadRange
    )
}
