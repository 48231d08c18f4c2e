//! > Typed masks: a client that asked for MODE is not woken by DATA.

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    Result,
    daemon::Daemon,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, told},
    scene::Scene,
};
use upcall_client::{Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("a_mask_lets_through_what_it_names_only", only_asked_for);
    trials.kernel("every_hook_that_the_kernel_has_is_at_work", no_hook_is_refused);
}

fn only_asked_for(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut data = Listener::connect(&daemon.unix(), "data").await?;
        let mut mode = Listener::connect(&daemon.unix(), "mode").await?;
        data.watch(vec![Watch::path(&file, 1).mask(change::DATA)]).await?;
        mode.watch(vec![Watch::path(&file, 1).mask(change::MODE)]).await?;
        data.rest().await?;
        mode.quiet().await?;
        helper.write(&file)?;
        data.until_told(1, change::DATA).await?;
        data.rest().await?;
        mode.sync().await?;
        mode.heard_nothing()?;
        helper.perform("chmod", scene.path())?.map_err(std::io::Error::from_raw_os_error)?;
        mode.until_told(1, change::MODE).await?;
        mode.rest().await?;
        data.sync().await?;
        data.heard_nothing()?;
        ensure!(told(&mode.heard, 1) == 0, "more was told at rest: {:?}", mode.heard);
        Ok(Completion::Completed)
    })
}

fn no_hook_is_refused(filesystem: &Filesystem) -> Result<()> {
    let daemon = Daemon::start(&[&filesystem.root], "")?;
    let status = daemon.status()?;
    let lost = status["lost"].as_array().map_or(&[][..], Vec::as_slice);
    let refused: Vec<_> = lost
        .iter()
        .filter(|it| !it["why"].as_str().unwrap_or_default().starts_with("this kernel has no"))
        .collect();
    ensure!(refused.is_empty(), "the kernel refused hooks that it has: {refused:?}");
    for it in lost {
        println!("not on this kernel: {}", it["hook"]);
    }
    println!(
        "source {}, {} hooks at work, safety net {}",
        status["source"],
        status["hooks"].as_array().map_or(0, Vec::len),
        status["safety_net"]
    );
    Ok(())
}
