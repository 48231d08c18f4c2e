//! > A holder that disconnects keeps its leases for a grace period within which the same client identity may reclaim
//! > them. Within the grace period after a daemon restart only reclaims are accepted.

use anyhow::{bail, ensure};
use tests::{
    Result,
    attempt::Attempt,
    filesystem::Filesystem,
    listener::{Listener, block_on},
};
use upcall_client::{Access, Code, Identity, Keep, LeaseKind, LockKind, Notice, Options};

use super::{
    Stage,
    holder::{Holder, refused},
};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("state::a_client_gets_back_what_it_held_after_the_daemon_was_killed", restarted);
    trials.daemon("state::a_recall_goes_on_when_its_holder_has_come_back", recalled);
    trials.daemon("state::an_identity_belongs_to_the_user_who_used_it_first", identity);
}

fn restarted(filesystem: &Filesystem) -> Result<()> {
    // Long enough for the client to come back.
    let mut stage = Stage::with(filesystem, "")?;
    stage.daemon.configure("state_grace_ms", "3000")?;
    block_on(async {
        let mut a = Holder::begin(&stage.daemon.unix(), "a").await?;
        let leased = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        let second = stage.scene.file("second")?;
        let locked = a.open(&second, 1, Access::Both).await?;
        a.lock(locked, 7, LockKind::Write, (0, 10)).await?;
        a.lock(locked, 7, LockKind::Read, (20, 0)).await?;
        // By another open, under another name, the owner gives up some of it.
        let linked = second.with_extension("linked");
        std::fs::hard_link(&second, &linked)?;
        let twin = a.open(&linked, 2, Access::Both).await?;
        a.state.unlock(twin, 7, 8, 2).await?;
        stage.own()?.restart()?;
        a.listener.until("the reconnection", reconnected).await?;
        // Nobody else gets anything now.
        let listener = Listener::connect(&stage.daemon.unix(), "b").await?;
        let early = listener.client.begin_state(Identity([9; 16])).await?;
        ensure!(!early.begun().reclaim.is_zero());
        let request = upcall_client::OpenRequest::path(&second, 1);
        ensure!(refused(early.open(request).await)? == Code::Grace);
        // It still is a lease, and they still are locks.
        stage.other.begin(Attempt::Read, &stage.file)?;
        ensure!(a.recalled().await?.open == leased);
        ensure!(stage.other.waits()?, "the reader did not wait");
        a.give_back(leased, LeaseKind::Write).await?;
        stage.other.finish()?;
        stage.other.hold(&second)?;
        ensure!(stage.other.lock_held(true, 5, 1)? == Err(libc::EAGAIN));
        ensure!(stage.other.lock_held(true, 8, 12)? == Ok(()));
        a.state.close(locked).await?;
        ensure!(stage.other.lock_held(true, 0, 0)? == Ok(()));
        Ok(())
    })
}

fn reconnected(heard: &[Notice]) -> bool {
    heard.iter().any(|notice| matches!(notice, Notice::Reconnected))
}

fn recalled(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::with(filesystem, "")?;
    stage.daemon.configure("state_grace_ms", "3000")?;
    stage.own()?.restart()?;
    block_on(async {
        let mut a = Holder::begin(&stage.daemon.unix(), "a").await?;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        stage.other.begin(Attempt::Read, &stage.file)?;
        a.recalled().await?;
        // Another connection takes over; the first comes back, and takes over in turn.
        let options = Options { name: "thief".into(), reconnect: false, ..Options::default() };
        let thief = Listener::connect_with(&stage.daemon.unix(), options).await?;
        let mut identity = [0; 16];
        identity[0] = b'a';
        thief.client.begin_state(Identity(identity)).await?;
        a.listener.heard.clear();
        a.listener.until("the reconnection", reconnected).await?;
        let again = |notice: &Notice| matches!(notice, Notice::State(upcall_client::StateNotice::Recall { open: of, .. }) if *of == open);
        a.listener.until("the recall", |heard| heard.iter().any(again)).await?;
        ensure!(stage.other.waits()?, "the reader did not wait");
        a.state.give_back(open, LeaseKind::Write, Keep::Read).await?;
        stage.other.finish()?;
        Ok(())
    })
}

fn identity(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::with(filesystem, "")?;
    block_on(async {
        let _a = Holder::begin(&stage.daemon.unix(), "a").await?;
        match Holder::begin(&stage.daemon.tcp(), "a").await {
            Err(error) => {
                let refusal = error.downcast::<upcall_client::Error>()?;
                ensure!(matches!(refusal, upcall_client::Error::Refused { code: Code::IdentityInUse, .. }));
            }
            Ok(_) => bail!("another user has taken over"),
        }
        Ok(())
    })
}
