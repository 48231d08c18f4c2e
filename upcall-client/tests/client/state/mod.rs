//! Opens, leases and locks.

mod reclaim;
mod requests;

use upcall_client::{
    Access, Client, Deny, Grant, Identity, LeaseId, LeaseKind, LockKind, LockRequest, OpenRequest,
    StateClient, Upcalls,
};
use upcall_common::wire::{
    Code, Done, FEATURE_STATE, GrantFlags, Leased, Locked, Means, Message, Open, Opened, StateAnswer,
    StateBegun, StateRequest, Welcome,
};

use crate::fake::{Daemon, Peer, options, soon, welcome};

const IDENTITY: Identity = Identity([9; 16]);
const LEASE_ID: LeaseId = LeaseId([3; 16]);

/// A daemon that holds state.
fn holds(epoch: u64) -> Welcome {
    Welcome { features: FEATURE_STATE, ..welcome(epoch) }
}

fn begun(code: Code) -> StateAnswer {
    StateAnswer::StateBegun(StateBegun {
        code,
        means: Means { leases: true, ..Means::default() },
        recall_ms: 60_000,
        grace_ms: 15_000,
        reclaim_ms: 0,
        text: String::new(),
    })
}

fn opened(code: Code, open: u64, request: u64) -> StateAnswer {
    // Each of a file of its own.
    let (flags, file) = (GrantFlags::default(), open + 1000);
    StateAnswer::Opened(Opened { code, flags, open, file, request, text: String::new() })
}

fn leased(code: Code) -> StateAnswer {
    StateAnswer::Leased(Leased { code, flags: GrantFlags { advisory: true }, text: String::from("because") })
}

fn locked(code: Code, request: u64) -> StateAnswer {
    StateAnswer::Locked(Locked { code, flags: GrantFlags::default(), request, text: String::new() })
}

fn done(code: Code) -> StateAnswer {
    StateAnswer::Done(Done { code, text: String::new() })
}

impl Peer {
    /// Takes the next frame, which must be about state, and answers it.
    async fn state(&mut self, answer: StateAnswer) -> StateRequest {
        self.answers([answer]).await
    }

    /// The same with several answers.
    async fn answers(&mut self, answers: impl IntoIterator<Item = StateAnswer>) -> StateRequest {
        match self.receive().await {
            (tag, Message::StateRequest(request)) => {
                for answer in answers {
                    self.send(&Message::StateAnswer(answer), tag).await;
                }
                request
            }
            other => panic!("not about state: {other:?}"),
        }
    }

    async fn reclaimed_open(&mut self, code: Code, number: u64) -> Open {
        match self.state(opened(code, number, 0)).await {
            StateRequest::Open(open) => open,
            other => panic!("not OPEN: {other:?}"),
        }
    }
}

async fn beginning(daemon: &Daemon) -> (Client, StateClient, Upcalls, Peer) {
    let (client, upcalls, mut peer) = daemon.connect(options(), holds(1)).await;
    let (state, request) = tokio::join!(soon(client.begin_state(IDENTITY)), peer.state(begun(Code::Ok)));
    assert!(matches!(request, StateRequest::StateBegin(begin) if begin.identity == IDENTITY));
    (client, state.expect("begun"), upcalls, peer)
}

/// Opens `/srv/a` with cookie 70, which the daemon calls `number`. Returns the client's id of it.
async fn open(state: &StateClient, peer: &mut Peer, number: u64) -> u64 {
    let request = OpenRequest::path("/srv/a", 70).access(Access::Both).deny(Deny::Write).lease_id(LEASE_ID);
    let (grant, _) = tokio::join!(soon(state.open(request)), peer.state(opened(Code::Ok, number, 0)));
    match grant {
        Ok(Grant::Granted(opened)) => opened.open,
        other => panic!("not open: {other:?}"),
    }
}

async fn lease(state: &StateClient, peer: &mut Peer, open: u64, kind: LeaseKind) {
    let (held, _) = tokio::join!(soon(state.lease(open, kind)), peer.state(leased(Code::Ok)));
    held.expect("granted");
}

async fn lock(state: &StateClient, peer: &mut Peer, open: u64, start: u64, length: u64) {
    let request = LockRequest::new(5, LockKind::Write, start, length);
    let (held, _) = tokio::join!(soon(state.lock(open, request)), peer.state(locked(Code::Ok, 0)));
    held.expect("granted");
}
