//! A client that holds something of one file.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result, bail};
use upcall_client::{
    Code, Grant, Held, Identity, ItemError, LeaseId, LockRequest, Notice, OpenRequest, Opened, StateClient,
    StateNotice, Upcalls,
};

use crate::cli::ConnectArgs;

pub(super) struct Holder {
    pub(super) state: StateClient,
    pub(super) upcalls: Upcalls,
}

impl Holder {
    pub(super) async fn begin(connect: &ConnectArgs, name: &str) -> Result<Self> {
        let (client, upcalls) = connect.client(name, true).await?;
        let state = client.begin_state(Identity(random()?)).await?;
        Ok(Self { state, upcalls })
    }

    /// Opens; a request that waits does so until it is granted.
    pub(super) async fn open(&mut self, request: OpenRequest) -> Result<Opened> {
        loop {
            let waiting = match self.state.open(request.clone()).await? {
                Grant::Granted(opened) => return Ok(opened),
                Grant::Waiting(waiting) => waiting,
            };
            let outcome = self.outcome(|notice| match notice {
                StateNotice::OpenGranted { request, outcome, .. } if request == waiting => Some(outcome),
                _ => None,
            });
            if let Some(opened) = outcome.await? {
                return Ok(opened);
            }
        }
    }

    /// Locks; a request that waits does so until it is granted.
    pub(super) async fn lock(&mut self, open: u64, request: LockRequest) -> Result<Held> {
        loop {
            let waiting = match self.state.lock(open, request).await? {
                Grant::Granted(held) => return Ok(held),
                Grant::Waiting(waiting) => waiting,
            };
            let outcome = self.outcome(|notice| match notice {
                StateNotice::LockGranted { request, outcome, .. } if request == waiting => Some(outcome),
                _ => None,
            });
            if let Some(held) = outcome.await? {
                return Ok(held);
            }
        }
    }

    /// Closes an open that is of no use, so that it does not outlive us by the grace. It may be lost already.
    pub(super) async fn give_up(&self, open: u64) {
        let _ = self.state.close(open).await;
    }

    /// What a request that waits comes to; `None`: it ended with the connection, of which there is another now.
    async fn outcome<T>(
        &mut self,
        of: impl Fn(StateNotice) -> Option<Result<T, ItemError>>,
    ) -> Result<Option<T>> {
        let mut again = false;
        loop {
            match self.upcalls.next().await.context("the connection to the daemon is lost for good")? {
                Notice::State(StateNotice::OpenLost { error, .. }) => bail!("the open is lost: {error}"),
                Notice::State(notice) => match of(notice) {
                    Some(Err(error)) if error.code == Code::Released => again = true,
                    Some(outcome) => return Ok(Some(outcome?)),
                    None => {}
                },
                Notice::Reconnected if again => return Ok(None),
                _ => {}
            }
        }
    }
}

/// Under which only this run's opens are.
pub(super) fn lease_id() -> Result<LeaseId> {
    Ok(LeaseId(random()?))
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let read: io::Result<()> = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("no random numbers from /dev/urandom")?;
    Ok(bytes)
}
