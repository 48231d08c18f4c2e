//! The background task: one session after another, until nobody holds the client any more.

mod offline;
mod session;
mod watches;

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;
use upcall_common::wire::ResyncReason;

use self::session::Session;
use self::watches::Watches;
use crate::job::{Command, Restore};
use crate::net::Connection;
use crate::state::Holdings;
use crate::{Address, Notice, Options};

/// What outlives a connection.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) watches: Watches,
    pub(crate) held: Holdings,
    /// What the channel of notices has no room for: at most what one frame brings. While there is any,
    /// nothing is read.
    pub(crate) backlog: VecDeque<Notice>,
    /// Everything held is stale. Told when every interest is live again, however many connections that takes:
    /// what the program read before would be stale again at once.
    stale: Option<Stale>,
}

#[derive(Debug)]
struct Stale {
    reason: ResyncReason,
    text: String,
}

impl State {
    /// Everything held is stale, and not every interest is live.
    fn doubt(&mut self, reason: ResyncReason, text: String) {
        // That versions mean nothing is worse than any other reason.
        if self.stale.is_none() || reason == ResyncReason::Epoch {
            self.stale = Some(Stale { reason, text });
        }
    }

    /// Whether a `Resync` will come for everything.
    pub(crate) fn in_doubt(&self) -> bool {
        self.stale.is_some()
    }

    /// Every interest is live.
    pub(crate) fn restored(&mut self) {
        let resync = self.stale.take().map(|Stale { reason, text }| Notice::Resync { reason, text });
        self.backlog.extend(resync);
        self.backlog.push_back(Notice::Reconnected);
    }
}

pub(crate) struct Engine {
    address: Address,
    options: Options,
    commands: mpsc::Receiver<Command>,
    notices: mpsc::Sender<Notice>,
    state: State,
}

impl Engine {
    pub(crate) fn new(
        address: Address,
        options: Options,
        commands: mpsc::Receiver<Command>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self { address, options, commands, notices, state: State::default() }
    }

    /// Ends only when reconnection is off. May be dropped at any point.
    pub(crate) async fn run(self, mut connection: Connection) {
        let Self { address, options, mut commands, notices, mut state } = self;
        let mut epoch = connection.welcome().epoch;
        let mut delay = options.backoff_min;
        let mut first_job = None;
        loop {
            let since = Instant::now();
            let session = Session::new(connection, &options, &mut commands, &notices, &mut state);
            let reason = session.run(first_job.take()).await;
            state.watches.disconnect();
            state.backlog.push_back(Notice::Disconnected { reason: reason.to_string() });
            let ended = state.held.disconnect();
            state.backlog.extend(ended.into_iter().map(Notice::State));
            // Waiting for the reader first keeps the backlog bounded however often the daemon comes and goes.
            offline::refusing(&mut commands, offline::deliver(&notices, &mut state.backlog)).await;
            if !options.reconnect {
                return;
            }
            if since.elapsed() > options.backoff_max {
                delay = options.backoff_min;
            }
            connection =
                offline::refusing(&mut commands, offline::dial(&address, &options, &mut delay)).await;
            if connection.welcome().epoch != epoch {
                epoch = connection.welcome().epoch;
                state.watches.forget_versions();
                let text = "the daemon cannot tell what has changed meanwhile";
                state.doubt(ResyncReason::Epoch, text.to_owned());
            }
            first_job = Some(Restore::new(&state));
        }
    }
}
