//! > A second process writes to a file a client watches over TCP and another watches over Unix: both get
//! > exactly the changed file's cookie and a mask that includes DATA; a third client watching another file gets
//! > nothing; the writer, watching too, gets nothing unless `--own`.

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    Result,
    filesystem::Filesystem,
    helper::writer_client,
    listener::{Listener, block_on, cookies},
    scene::Scene,
};
use upcall_client::{Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("writer_hears_others_only", |filesystem| others(filesystem, false));
    trials.on_each("writer_hears_its_own_if_it_asks", |filesystem| others(filesystem, true));
}

fn others(filesystem: &Filesystem, include_own: bool) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let (file, other) = (scene.file("file")?, scene.file("other")?);
    let daemon = filesystem.daemon()?;
    block_on(async {
        let mut unix = Listener::connect(&daemon.unix(), "unix").await?;
        let mut tcp = Listener::connect(&daemon.tcp(), "tcp").await?;
        let mut third = Listener::connect(&daemon.unix(), "third").await?;
        unix.watch(vec![Watch::path(&file, 11)]).await?;
        tcp.watch(vec![Watch::path(&file, 12)]).await?;
        third.watch(vec![Watch::path(&other, 13)]).await?;
        unix.rest().await?;
        tcp.quiet().await?;
        third.quiet().await?;
        let heard = writer_client(&daemon.unix().to_string(), &file, include_own)?;
        ensure!((heard > 0) == include_own, "the writer heard {heard} upcalls");
        unix.until_told(11, change::DATA).await?;
        tcp.until_told(12, change::DATA).await?;
        for (listener, cookie) in [(&unix, 11), (&tcp, 12)] {
            ensure!(cookies(&listener.heard).all(|of| of == cookie), "heard {:?}", listener.heard);
        }
        third.sync().await?;
        third.heard_nothing()?;
        Ok(Completion::Completed)
    })
}
