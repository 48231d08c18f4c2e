//! A client that holds something.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use tests::{Result, deadline::patience, listener::Listener};
use tokio::time::{sleep, timeout};
use upcall_client::{
    Access, Address, Code, Deny, Error, Grant, Identity, Keep, LeaseId, LeaseKind, LockKind, LockRequest,
    Notice, OpenRequest, StateClient, StateNotice, Who,
};

pub(super) struct Holder {
    pub(super) listener: Listener,
    pub(super) state: StateClient,
}

/// A recall, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recalled {
    pub(super) open: u64,
    pub(super) held: LeaseKind,
    pub(super) keep: Keep,
    pub(super) who: Who,
}

impl Holder {
    /// Begins, and waits until more than reclaims are accepted.
    pub(super) async fn begin(address: &Address, name: &str) -> Result<Self> {
        let listener = Listener::connect(address, name).await?;
        let state = listener.client.begin_state(identity(name)?).await?;
        // By the daemon's own word; a little more, since it counts from before the answer.
        sleep(state.begun().reclaim + Duration::from_millis(1)).await;
        Ok(Self { listener, state })
    }

    /// Opens under a lease id of this number.
    pub(super) async fn try_open(
        &self,
        file: &Path,
        id: u8,
        access: Access,
        deny: Deny,
    ) -> Result<Grant<u64>, Error> {
        let request =
            OpenRequest::path(file, id.into()).access(access).deny(deny).lease_id(LeaseId([id; 16]));
        self.ask_open(request).await
    }

    pub(super) async fn ask_open(&self, request: OpenRequest) -> Result<Grant<u64>, Error> {
        Ok(match self.state.open(request).await? {
            Grant::Granted(opened) => Grant::Granted(opened.open),
            Grant::Waiting(request) => Grant::Waiting(request),
        })
    }

    pub(super) async fn open(&self, file: &Path, id: u8, access: Access) -> Result<u64> {
        match self.try_open(file, id, access, Deny::None).await? {
            Grant::Granted(open) => Ok(open),
            Grant::Waiting(_) => bail!("an open that may not wait waits"),
        }
    }

    /// Opens and takes a lease that the kernel holds.
    pub(super) async fn hold(&self, file: &Path, id: u8, kind: LeaseKind) -> Result<u64> {
        let access = if kind == LeaseKind::Read { Access::Read } else { Access::Both };
        let open = self.open(file, id, access).await?;
        self.lease(open, kind).await?;
        Ok(open)
    }

    pub(super) async fn lease(&self, open: u64, kind: LeaseKind) -> Result<()> {
        anyhow::ensure!(!self.state.lease(open, kind).await?.advisory, "the kernel does not hold it");
        Ok(())
    }

    pub(super) async fn give_back(&self, open: u64, kind: LeaseKind) -> Result<()> {
        Ok(self.state.give_back(open, kind, Keep::None).await?)
    }

    /// Locks bytes at once.
    pub(super) async fn lock(
        &mut self,
        open: u64,
        owner: u64,
        kind: LockKind,
        range: (u64, u64),
    ) -> Result<()> {
        let request = LockRequest::new(owner, kind, range.0, range.1);
        match self.state.lock(open, request).await? {
            Grant::Granted(held) => anyhow::ensure!(!held.advisory, "the kernel does not hold it"),
            Grant::Waiting(_) => bail!("a lock that may not wait waits"),
        }
        Ok(())
    }

    /// What is heard next of what it holds.
    pub(super) async fn hear(&mut self, what: &str) -> Result<StateNotice> {
        loop {
            if let Notice::State(notice) = self.listener.next(what).await? {
                return Ok(notice);
            }
        }
    }

    pub(super) async fn recalled(&mut self) -> Result<Recalled> {
        match self.hear("a recall").await? {
            StateNotice::Recall { open, held, keep, who, .. } => Ok(Recalled { open, held, keep, who }),
            other => bail!("not a recall: {other:?}"),
        }
    }

    pub(super) async fn revoked(&mut self) -> Result<u64> {
        match self.hear("a revocation").await? {
            StateNotice::Revoked { open, .. } => Ok(open),
            other => bail!("not a revocation: {other:?}"),
        }
    }

    /// That nothing has been told of what it holds but what was taken. For operators.
    pub(super) async fn heard_nothing(&mut self) -> Result<()> {
        self.listener.heard.clear();
        self.listener.rest_and_keep().await?;
        self.listener.heard_nothing()
    }

    /// That no recall has come but what has been taken.
    pub(super) async fn heard_nothing_but_recalls(&mut self) -> Result<()> {
        self.listener.sync().await?;
        let recalls =
            self.listener.heard.iter().filter(|it| matches!(it, Notice::State(StateNotice::Recall { .. })));
        anyhow::ensure!(recalls.count() == 1, "{:?}", self.listener.heard);
        Ok(())
    }

    /// Everything that was told.
    pub(super) async fn heard(&mut self) -> Result<Vec<StateNotice>> {
        self.listener.sync().await?;
        let heard = std::mem::take(&mut self.listener.heard);
        Ok(heard
            .into_iter()
            .filter_map(|notice| match notice {
                Notice::State(notice) => Some(notice),
                _ => None,
            })
            .collect())
    }
}

/// That of a client of this name.
pub(super) fn identity(name: &str) -> Result<Identity> {
    let mut identity = [0; 16];
    identity.get_mut(..name.len()).context("the name is too long")?.copy_from_slice(name.as_bytes());
    Ok(Identity(identity))
}

/// The reason of a refusal.
pub(super) fn refused<T>(outcome: Result<T, Error>) -> Result<Code> {
    match outcome {
        Err(Error::Refused { code, .. }) => Ok(code),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("it was granted"),
    }
}

/// Asks until it is granted: what is in the way ends by itself.
pub(super) async fn granted<T, F: Future<Output = Result<T, Error>>>(
    meanwhile: &[Code],
    ask: impl Fn() -> F,
) -> Result<T> {
    let asking = async {
        loop {
            match ask().await {
                Err(Error::Refused { code, .. }) if meanwhile.contains(&code) => {
                    sleep(tests::deadline::LOOK).await;
                }
                other => return Ok(other?),
            }
        }
    };
    timeout(patience(), asking).await.context("waited in vain for a grant")?
}
