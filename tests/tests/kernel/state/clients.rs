//! Scenarios between clients that GlusterFS's own tests of leases have.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use tests::{
    Result,
    attempt::Attempt,
    filesystem::Filesystem,
    listener::{Listener, block_on},
};
use tokio::time::sleep;
use upcall_client::{
    Access, Code, Deny, Grant, Keep, LeaseId, LeaseKind, LockKind, LockRequest, OpenRequest, StateNotice, Who,
};

use super::{
    GRACE, Stage,
    holder::{self, Holder, Recalled, granted, refused},
};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("state::a_read_lease_is_refused_beside_another_ids_writer_until_that_closes", writer);
    trials.daemon("state::opens_of_one_lease_id_do_not_conflict_and_each_lease_takes_a_return", one_id);
    trials.daemon("state::a_read_only_open_cannot_carry_a_write_lease", carried);
    trials.daemon("state::a_client_whose_identity_is_anothers_may_begin_with_one_of_its_own", identity);
    trials.daemon("state::who_may_only_read_cannot_widen_an_open_to_writing", widened);
    trials.daemon("state::two_clients_read_and_a_third_that_writes_recalls_both", shared);
    trials.daemon("state::a_lease_against_a_write_lease_fails_at_once_and_recalls_its_holder", exclusive);
    trials.daemon("state::an_open_that_waits_is_granted_when_the_holder_returns", waits);
    trials.daemon("state::what_a_client_held_is_gone_after_the_grace_period", gone);
    trials.daemon("state::a_return_at_the_deadline_succeeds_whether_or_not_it_was_revoked", race);
}

fn writer(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (a, b) = stage.two().await?;
        let writer = a.open(&stage.file, 1, Access::Write).await?;
        let reader = b.open(&stage.file, 2, Access::Read).await?;
        ensure!(refused(b.state.lease(reader, LeaseKind::Read).await)? == Code::Conflict);
        // Of the same client, under another id, too.
        let own = a.open(&stage.file, 3, Access::Read).await?;
        ensure!(refused(a.state.lease(own, LeaseKind::Read).await)? == Code::Conflict);
        a.state.close(writer).await?;
        b.lease(reader, LeaseKind::Read).await?;
        a.lease(own, LeaseKind::Read).await
    })
}

fn one_id(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, b) = stage.two().await?;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        a.lease(open, LeaseKind::Write).await?;
        a.lease(open, LeaseKind::Read).await?;
        for access in [Access::Read, Access::Write, Access::Both] {
            a.open(&stage.file, 1, access).await?;
        }
        a.heard_nothing().await?;
        let other = || b.try_open(&stage.file, 2, Access::Write, Deny::None);
        for kind in [LeaseKind::Write, LeaseKind::Read, LeaseKind::Write] {
            ensure!(refused(other().await)? == Code::Recalling);
            a.give_back(open, kind).await?;
        }
        other().await?;
        // Once more is no failure; what was never held is one.
        a.give_back(open, LeaseKind::Write).await?;
        let reader = a.open(&stage.file, 1, Access::Read).await?;
        ensure!(refused(a.state.give_back(reader, LeaseKind::Read, Keep::None).await)? == Code::NotHeld);
        Ok(())
    })
}

fn carried(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        let reader = holder.open(&stage.file, 1, Access::Read).await?;
        ensure!(refused(holder.state.lease(reader, LeaseKind::Write).await)? == Code::NotCarried);
        let writer = holder.open(&stage.file, 1, Access::Write).await?;
        ensure!(refused(holder.state.lease(writer, LeaseKind::Read).await)? == Code::NotCarried);
        holder.lease(writer, LeaseKind::Write).await
    })
}

fn identity(filesystem: &Filesystem) -> Result<()> {
    // Whose identities no other user has had.
    let stage = Stage::with(filesystem, "")?;
    block_on(async {
        let _first = Holder::begin(&stage.daemon.unix(), "a").await?;
        // Over TCP one is another user.
        let listener = Listener::connect(&stage.daemon.tcp(), "b").await?;
        let begun = listener.client.begin_state(holder::identity("a")?).await;
        ensure!(refused(begun.map(drop))? == Code::IdentityInUse);
        // A request is answered all the same.
        let open = listener.client.query_state(None).await;
        ensure!(refused(open)? == Code::NotPermitted);
        let state = listener.client.begin_state(holder::identity("b")?).await?;
        let request = OpenRequest::path(&stage.file, 1);
        granted(&[Code::Grace], || state.open(request.clone())).await?;
        Ok(())
    })
}

fn widened(filesystem: &Filesystem) -> Result<()> {
    // Whose identities no other user has had.
    let stage = Stage::with(filesystem, "")?;
    block_on(async {
        // Over TCP one is a user who may only read root's file.
        let holder = Holder::begin(&stage.daemon.tcp(), "a").await?;
        let open = holder.open(&stage.file, 1, Access::Read).await?;
        for access in [Access::Write, Access::Both] {
            ensure!(refused(holder.state.change(open, access, Deny::None).await)? == Code::NotPermitted);
        }
        ensure!(refused(holder.state.lease(open, LeaseKind::Write).await)? == Code::NotCarried);
        let lock = LockRequest::new(1, LockKind::Write, 0, 1);
        ensure!(refused(holder.state.lock(open, lock).await)? == Code::NotCarried);
        holder.lease(open, LeaseKind::Read).await?;
        // Who may write may begin by reading.
        let holder = Holder::begin(&stage.daemon.unix(), "b").await?;
        let open = holder.open(&stage.scene.file("other")?, 1, Access::Read).await?;
        Ok(holder.state.change(open, Access::Both, Deny::None).await?)
    })
}

fn shared(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let of_a = a.hold(&stage.file, 1, LeaseKind::Read).await?;
        let of_b = b.hold(&stage.file, 1, LeaseKind::Read).await?;
        let done = stage.other.attempt(Attempt::Read, &stage.file)?;
        done.map_err(io::Error::from_raw_os_error)?;
        let c = Holder::begin(&stage.daemon.unix(), "c").await?;
        ensure!(refused(c.try_open(&stage.file, 1, Access::Both, Deny::None).await)? == Code::Recalling);
        for (holder, open) in [(&mut a, of_a), (&mut b, of_b)] {
            let who = Who::Client("c".into());
            let recall = Recalled { open, held: LeaseKind::Read, keep: Keep::None, who };
            ensure!(holder.recalled().await? == recall);
            // Nobody gets a new one meanwhile, so that who waits does not starve.
            ensure!(refused(holder.state.lease(open, LeaseKind::Read).await)? == Code::Recalling);
        }
        // No second recall.
        ensure!(refused(c.try_open(&stage.file, 1, Access::Both, Deny::None).await)? == Code::Recalling);
        for (holder, open) in [(&mut a, of_a), (&mut b, of_b)] {
            holder.heard_nothing_but_recalls().await?;
            holder.give_back(open, LeaseKind::Read).await?;
        }
        c.open(&stage.file, 1, Access::Both).await?;
        Ok(())
    })
}

fn exclusive(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, b) = stage.two().await?;
        // Open before the lease, so that the lease is refused, not the open.
        let other = b.open(&stage.file, 2, Access::Read).await?;
        let open = a.open(&stage.file, 1, Access::Both).await?;
        ensure!(refused(a.state.lease(open, LeaseKind::Write).await)? == Code::Conflict);
        b.state.close(other).await?;
        a.lease(open, LeaseKind::Write).await?;
        ensure!(refused(b.try_open(&stage.file, 2, Access::Read, Deny::None).await)? == Code::Recalling);
        let who = Who::Client("b".into());
        ensure!(a.recalled().await? == Recalled { open, held: LeaseKind::Write, keep: Keep::Read, who });
        a.state.give_back(open, LeaseKind::Write, Keep::Read).await?;
        // What was given up for it is no write lease, but the first one's open still writes.
        let other = b.open(&stage.file, 2, Access::Read).await?;
        ensure!(refused(b.state.lease(other, LeaseKind::Read).await)? == Code::Conflict);
        a.state.close(open).await?;
        b.lease(other, LeaseKind::Read).await
    })
}

fn waits(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        let wanted =
            || OpenRequest::path(&stage.file, 2).access(Access::Both).lease_id(LeaseId([2; 16])).wait(true);
        let Grant::Waiting(first) = b.ask_open(wanted()).await? else { bail!("granted under a lease") };
        let Grant::Waiting(second) = b.ask_open(wanted()).await? else { bail!("granted under a lease") };
        ensure!(a.recalled().await?.keep == Keep::None);
        b.state.cancel(second).await?;
        match b.hear("a cancelled open").await? {
            StateNotice::OpenGranted { request, outcome: Err(error), .. } => {
                ensure!(request == second && error.code == Code::Cancelled);
            }
            other => bail!("not a cancelled open: {other:?}"),
        }
        a.give_back(open, LeaseKind::Write).await?;
        match b.hear("an open").await? {
            StateNotice::OpenGranted { request, outcome: Ok(_), .. } => ensure!(request == first),
            other => bail!("not an open: {other:?}"),
        }
        ensure!(refused(b.state.cancel(first).await)? == Code::NoRequest);
        Ok(())
    })
}

fn gone(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let (a, b) = stage.two().await?;
        a.hold(&stage.file, 1, LeaseKind::Write).await?;
        let left = Instant::now();
        drop(a);
        stage.other.begin(Attempt::Append, &stage.file)?;
        granted(&[Code::Recalling], || b.try_open(&stage.file, 2, Access::Both, Deny::None)).await?;
        ensure!(left.elapsed() >= GRACE, "before its client could have come back");
        stage.other.finish()?;
        drop(b);
        stage.nothing_left().await
    })
}

/// The deadline and the return come at the same time, more or less.
fn race(filesystem: &Filesystem) -> Result<()> {
    const RECALL: Duration = Duration::from_millis(40);
    let mut stage = Stage::with(filesystem, &format!("recall_ms = {}", RECALL.as_millis()))?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        for (number, early) in [4, 2, 1, 0, 0, 0].into_iter().enumerate() {
            // A new file each: after a revocation there is a time without a lease.
            let file = stage.scene.file(&format!("file-{number}"))?;
            let open = holder.hold(&file, 1, LeaseKind::Write).await?;
            stage.other.begin(Attempt::Append, &file)?;
            holder.recalled().await?;
            sleep(RECALL - Duration::from_millis(early)).await;
            holder.give_back(open, LeaseKind::Write).await?;
            stage.other.finish()?;
            for notice in holder.heard().await? {
                let known = matches!(notice, StateNotice::Revoked { open: of, .. } if of == open);
                ensure!(known || matches!(notice, StateNotice::Recall { .. }), "{notice:?}");
            }
        }
        drop(holder);
        stage.nothing_left().await
    })
}
