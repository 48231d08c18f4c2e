//! One connection from WELCOME to its end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep_until};
use upcall_common::wire::{FEATURE_NAMES, Message, ResyncReason};

use super::State;
use crate::error::Error;
use crate::job::{Ask, Command, End, Job, Limits, Restore};
use crate::net::Connection;
use crate::{Notice, Options};

/// Stands for times that no clock reaches.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pub(super) struct Session<'a> {
    connection: Connection,
    limits: Limits,
    request_timeout: Duration,
    ping_interval: Option<Duration>,
    commands: &'a mut mpsc::Receiver<Command>,
    notices: &'a mpsc::Sender<Notice>,
    state: &'a mut State,
    active: Option<Active>,
    tag: u32,
    heard: Instant,
    /// The program does not read its notices, so the socket is not read.
    blocked: bool,
}

/// The request under way.
struct Active {
    job: Box<dyn Job>,
    /// Of its frames that are not answered, in order.
    tags: VecDeque<u32>,
    /// `None`: the requester has been told not to wait.
    deadline: Option<Instant>,
}

impl Active {
    fn new(job: Box<dyn Job>) -> Self {
        Self { job, tags: VecDeque::new(), deadline: None }
    }
}

/// What ended a wait.
enum Event {
    Progress(Result<bool, Error>),
    Room,
    Command(Command),
    Late,
    Idle,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: Connection,
        options: &Options,
        commands: &'a mut mpsc::Receiver<Command>,
        notices: &'a mpsc::Sender<Notice>,
        state: &'a mut State,
    ) -> Self {
        Self {
            limits: Limits::of(connection.welcome()),
            connection,
            request_timeout: options.request_timeout,
            ping_interval: options.ping_interval,
            commands,
            notices,
            state,
            active: None,
            tag: 1,
            heard: Instant::now(),
            blocked: false,
        }
    }

    /// Returns why the connection ended.
    pub(super) async fn run(mut self, first_job: Option<Restore>) -> Error {
        let broken = match first_job {
            Some(job) => self.advance(Active::new(Box::new(job))).err(),
            None => None,
        };
        let reason = match broken {
            Some(error) => error,
            None => self.work().await,
        };
        if let Some(active) = self.active.take() {
            active.job.end(End::Disconnected, self.state);
        }
        reason
    }

    async fn work(&mut self) -> Error {
        loop {
            if let Err(error) = self.take_in() {
                return error;
            }
            let event = self.wait().await;
            if let Err(error) = self.react(event) {
                return error;
            }
        }
    }

    /// Hands on what waits, and handles what has been read, until the program stops reading.
    fn take_in(&mut self) -> Result<(), Error> {
        self.deliver();
        while !self.blocked && self.connection.has_room() {
            let Some((tag, message)) = self.connection.next_message()? else { break };
            self.handle(tag, message)?;
            self.deliver();
        }
        Ok(())
    }

    fn deliver(&mut self) {
        let was_blocked = self.blocked;
        self.blocked = false;
        while let Some(notice) = self.state.backlog.pop_front() {
            match self.notices.try_send(notice) {
                Ok(()) => {}
                Err(TrySendError::Full(notice)) => {
                    self.state.backlog.push_front(notice);
                    self.blocked = true;
                    break;
                }
                Err(TrySendError::Closed(_)) => self.state.backlog.clear(),
            }
        }
        if was_blocked && !self.blocked {
            // The time during which nothing was read is not the daemon's fault.
            self.heard = Instant::now();
            if let Some(active) = &mut self.active {
                active.deadline = Some(after(self.heard, self.request_timeout));
            }
        }
    }

    async fn wait(&mut self) -> Event {
        let read = !self.blocked && self.connection.has_room();
        let deadline = self.active.as_ref().and_then(|active| active.deadline);
        let free = self.active.is_none();
        let interval = self.ping_interval.filter(|_| free && !self.blocked);
        let idle = interval.map(|interval| after(self.heard, interval));
        tokio::select! {
            progress = self.connection.progress(read) => Event::Progress(progress),
            // The room, or the lack of a reader, is found again by `deliver`.
            _ = self.notices.reserve(), if self.blocked => Event::Room,
            Some(command) = self.commands.recv(), if free || deadline.is_none() => Event::Command(command),
            () = until(deadline) => Event::Late,
            () = until(idle) => Event::Idle,
        }
    }

    fn react(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Progress(read) => {
                if read? {
                    self.heard = Instant::now();
                }
                Ok(())
            }
            Event::Room => Ok(()),
            Event::Command(command) if self.active.is_some() => {
                command.fail(Error::NotReading);
                Ok(())
            }
            Event::Command(command) => {
                let job = command.into_job(self.state);
                self.advance(Active::new(job))
            }
            Event::Late => match &mut self.active {
                Some(active) if self.blocked => {
                    active.deadline = None;
                    active.job.give_up(Error::NotReading);
                    Ok(())
                }
                _ => Err(Error::TimedOut(self.request_timeout)),
            },
            Event::Idle => self.advance(Active::new(Box::new(Ask::ping(None)))),
        }
    }

    fn handle(&mut self, tag: u32, message: Message) -> Result<(), Error> {
        match message {
            Message::Upcall(items) => {
                let State { watches, backlog, .. } = &mut *self.state;
                let names = self.connection.welcome().features & FEATURE_NAMES != 0;
                backlog.extend(items.into_iter().filter_map(|item| watches.upcall(item, names)));
                Ok(())
            }
            Message::Resync { reason, text } => {
                if reason == ResyncReason::Epoch {
                    self.state.watches.forget_versions();
                }
                if self.active.as_ref().is_some_and(|active| active.job.is_restore()) {
                    self.state.doubt(reason, text);
                } else {
                    self.state.backlog.push_back(Notice::Resync { reason, text });
                }
                Ok(())
            }
            Message::StateUpcall(upcall) => {
                let notice = self.state.held.upcall(upcall).map(Notice::State);
                self.state.backlog.extend(notice);
                Ok(())
            }
            Message::Ping(bytes) => Ok(self.connection.send(&Message::Pong(bytes), tag, Vec::new())?),
            Message::Error { code, message } if tag == 0 => Err(Error::Refused { code, message }),
            // An answer that nobody waits for is none of ours.
            other => match self.active.take_if(|active| active.tags.contains(&tag)) {
                Some(active) => self.answered(active, tag, other),
                None => Ok(()),
            },
        }
    }

    fn answered(&mut self, mut active: Active, tag: u32, message: Message) -> Result<(), Error> {
        let in_order = active.tags.pop_front() == Some(tag);
        match message {
            _ if !in_order => {
                active.job.end(End::Disconnected, self.state);
                Err(Error::unexpected("answers come in another order than their requests"))
            }
            Message::Error { code, message } => {
                let error = Error::Refused { code, message };
                if active.job.is_restore() {
                    return Err(error);
                }
                match active.job.refused(error, self.state) {
                    Ok(()) => self.advance(active),
                    Err(error) => self.end(active.job, End::Refused(error)),
                }
            }
            message => match active.job.answer(message, self.state) {
                Ok(()) if active.job.expects_more() => {
                    active.tags.push_front(tag);
                    active.deadline = active.deadline.map(|_| after(Instant::now(), self.request_timeout));
                    self.active = Some(active);
                    Ok(())
                }
                Ok(()) => self.advance(active),
                Err(error) => {
                    active.job.end(End::Disconnected, self.state);
                    Err(error)
                }
            },
        }
    }

    /// Sends the job's next frames, or ends it.
    fn advance(&mut self, mut active: Active) -> Result<(), Error> {
        while active.tags.len() < active.job.window() {
            let Some((message, files)) = active.job.next_frame(self.state, &self.limits) else { break };
            // 0 is for what nobody asked for.
            self.tag = self.tag.checked_add(1).unwrap_or(1);
            match self.connection.send(&message, self.tag, files) {
                Ok(()) => active.tags.push_back(self.tag),
                Err(error) => return self.end(active.job, End::Refused(error.into())),
            }
        }
        if active.tags.is_empty() {
            return self.end(active.job, End::Done);
        }
        active.deadline = Some(after(Instant::now(), self.request_timeout));
        self.active = Some(active);
        Ok(())
    }

    fn end(&mut self, job: Box<dyn Job>, end: End) -> Result<(), Error> {
        match job.end(end, self.state) {
            Some(next) => self.advance(Active::new(next)),
            None => Ok(()),
        }
    }
}

fn after(time: Instant, wait: Duration) -> Instant {
    time.checked_add(wait).unwrap_or_else(|| time + FAR)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
