//! Interests end by themselves, by request, or not at all.

use std::time::Duration;

use anyhow::{Context, ensure};
use tests::{
    Result,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, cookies},
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("a_lifetime_ends_with_expired", expires);
    trials.daemon("renewing_prolongs_a_lifetime", renews);
    trials.daemon("unregistering_ends_upcalls", unregisters);
}

const SHORT: Duration = Duration::from_millis(500);

fn has_expired(heard: &[Notice], of: u64) -> bool {
    heard.iter().any(|notice| {
        matches!(notice, Notice::Upcall { cookie, mask, ended: true, .. }
            if *cookie == of && mask & change::EXPIRED != 0)
    })
}

fn expires(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1).lifetime(SHORT)]).await?;
        listener.until("the end of the interest", |heard| has_expired(heard, 1)).await?;
        listener.quiet().await?;
        helper.write(&file)?;
        listener.sync().await?;
        listener.heard_nothing()
    })
}

fn renews(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let files = [scene.file("renewed")?, scene.file("endless")?, scene.file("clock")?];
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        let watches = files.iter().zip(0..).map(|(file, cookie)| Watch::path(file, cookie).lifetime(SHORT));
        let made = listener.watch(watches.collect()).await?;
        let interest = |at: usize| made.get(at).map(|made| made.interest).context("an interest is missing");
        let longer = vec![(interest(0)?, Some(Duration::from_secs(3600))), (interest(1)?, None)];
        let client = listener.client.clone();
        for outcome in listener.listening(client.renew(longer)).await?? {
            outcome?;
        }
        // The third one tells when the others would have ended.
        listener.until("the end of the interest that was not renewed", |heard| has_expired(heard, 2)).await?;
        ensure!(
            !has_expired(&listener.heard, 0) && !has_expired(&listener.heard, 1),
            "a renewed interest ended"
        );
        listener.rest().await?;
        files.iter().try_for_each(|file| helper.write(file))?;
        listener.until_told(0, change::DATA).await?;
        listener.until_told(1, change::DATA).await?;
        ensure!(cookies(&listener.heard).all(|cookie| cookie < 2), "told of an ended interest");
        Ok(())
    })
}

fn unregisters(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let (file, control) = (scene.file("file")?, scene.file("control")?);
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        let made = listener.watch(vec![Watch::path(&file, 1), Watch::path(&control, 2)]).await?;
        let first = made.first().context("no interest")?.interest;
        listener.rest().await?;
        helper.write(&file)?;
        listener.until_told(1, change::DATA).await?;
        let client = listener.client.clone();
        for outcome in listener.listening(client.unregister(vec![first])).await?? {
            outcome?;
        }
        listener.rest().await?;
        helper.write(&file)?;
        helper.write(&control)?;
        listener.until_told(2, change::DATA).await?;
        listener.sync().await?;
        ensure!(cookies(&listener.heard).all(|cookie| cookie == 2), "told after UNREGISTERED");
        Ok(())
    })
}
