//! Holds a lease, a share reservation and a lock of one file, as a server would for its clients.
//!
//! `cargo run -p upcall-client --example state -- /srv/data/a`, beside `upcall daemon --export /srv/data --leases
//! --shares --locks`; then, in another shell, `cat /srv/data/a`.

use std::error::Error;
use std::fs;
use std::time::Duration;

use tokio::time::timeout;
use upcall_client::{
    Access, Address, Client, Deny, Grant, Identity, Keep, LeaseId, LeaseKind, LockKind, LockRequest, Notice,
    OpenRequest, Options, StateClient, StateNotice, Upcalls,
};

/// Found again by the daemon after a reconnection. A real one is random.
const IDENTITY: Identity = Identity(*b"example of state");
/// Opens under one id are one holder: their leases do not conflict.
const LEASE_ID: LeaseId = LeaseId([7; 16]);
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a file beneath an export")?;
    let (client, mut upcalls) = Client::connect(&Address::default(), Options::default()).await?;
    let state = client.begin_state(IDENTITY).await?;
    // After a restart of the daemon it accepts only reclaims for a time.
    tokio::time::sleep(state.begun().reclaim).await;
    share(&state, &path).await?;
    lock(&state, &mut upcalls, &path).await?;
    lease(&state, &mut upcalls, &path).await
}

/// While the open lasts nobody else writes.
async fn share(state: &StateClient, path: &str) -> Result<(), Box<dyn Error>> {
    let request = OpenRequest::path(path, 1).access(Access::Read).deny(Deny::Write).advisory_ok(true);
    let Grant::Granted(opened) = state.open(request).await? else { return Err("it may not wait".into()) };
    println!("shared for reading alone; advisory: {}", opened.advisory);
    Ok(state.close(opened.open).await?)
}

/// Locks the first 4096 bytes, and gives up waiting after a while.
async fn lock(state: &StateClient, upcalls: &mut Upcalls, path: &str) -> Result<(), Box<dyn Error>> {
    let request = OpenRequest::path(path, 2).access(Access::Both);
    let Grant::Granted(opened) = state.open(request).await? else { return Err("it may not wait".into()) };
    let owner = 1;
    let wanted = LockRequest::new(owner, LockKind::Write, 0, 4096).wait(true);
    match state.lock(opened.open, wanted).await? {
        Grant::Granted(held) => println!("locked; advisory: {}", held.advisory),
        Grant::Waiting(request) => {
            if timeout(PATIENCE, lock_outcome(upcalls, request)).await.is_err() {
                // Granted in this very moment, or not: the notice comes all the same.
                state.cancel(request).await?;
                lock_outcome(upcalls, request).await?;
            }
        }
    }
    // Releases what it has locked.
    Ok(state.close(opened.open).await?)
}

async fn lock_outcome(upcalls: &mut Upcalls, wanted: u64) -> Result<(), Box<dyn Error>> {
    while let Some(notice) = upcalls.next().await {
        if let Notice::State(StateNotice::LockGranted { request, outcome, .. }) = notice
            && request == wanted
        {
            println!("the wait is over: {outcome:?}");
            return Ok(());
        }
    }
    Err("the client has stopped".into())
}

/// Caches writes until somebody else wants the file.
async fn lease(state: &StateClient, upcalls: &mut Upcalls, path: &str) -> Result<(), Box<dyn Error>> {
    let request = OpenRequest::path(path, 3).access(Access::Both).lease_id(LEASE_ID);
    let Grant::Granted(opened) = state.open(request).await? else { return Err("it may not wait".into()) };
    state.lease(opened.open, LeaseKind::Write).await?;
    println!("leased: nobody else opens {path}");
    while let Some(notice) = upcalls.next().await {
        match notice {
            Notice::State(StateNotice::Recall { open, held, deadline, who, .. }) => {
                println!("{who} wants it, within {deadline:?}");
                if held == LeaseKind::Write {
                    flush(path)?;
                }
                state.give_back(open, held, Keep::None).await?;
                return Ok(state.close(open).await?);
            }
            Notice::State(StateNotice::Revoked { .. }) => {
                return Err("too late: what was cached is void".into());
            }
            Notice::State(StateNotice::OpenLost { error, .. } | StateNotice::LeaseLost { error, .. }) => {
                return Err(error.into());
            }
            // Nothing that is cached is to be relied upon until `Reconnected`.
            other => println!("{other:?}"),
        }
    }
    Err("the client has stopped".into())
}

/// Writes back what is cached. A server on the storage host has passed the descriptor that it writes by
/// ([`OpenRequest::descriptor`]): any other open of its own would wait for its own lease. Here there is nothing.
fn flush(path: &str) -> std::io::Result<()> {
    fs::metadata(path).map(|_| ())
}
