//! A filesystem that comes and goes, and a client that watches it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use anyhow::{Context, Result, ensure};
use upcall_client::{Address, Code, Notice, Watch};

use crate::{
    listener::{Listener, runtime},
    own::Own,
};

const FILES: u64 = 10;

/// Mounted, but for the visit.
#[derive(Debug)]
pub(crate) struct Visitor(pub(crate) Own);

impl Visitor {
    /// `None`: this machine cannot make one.
    pub(crate) fn make() -> Result<Option<Self>> {
        let Some(own) = Own::make("ext4")? else { return Ok(None) };
        fs::set_permissions(own.root(), Permissions::from_mode(0o755))?;
        Ok(Some(Self(own)))
    }

    /// Watches files, as far as there are slots, takes them away with their filesystem, and hears of the end of each.
    pub(crate) fn visit(&self, daemon: &Address, few_slots: bool) -> Result<()> {
        let files: Vec<_> = (0..FILES).map(|number| self.0.root().join(number.to_string())).collect();
        for file in &files {
            fs::write(file, "here today")?;
        }
        runtime()?.block_on(async {
            let mut listener = Listener::connect(daemon, "of the unmounted").await?;
            let watches = files.iter().zip(0..).map(|(file, cookie)| Watch::path(file, cookie));
            let client = listener.client.clone();
            let outcomes = listener.listening(client.register(watches.collect())).await??;
            let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
            ensure!(
                refused.clone().all(|error| error.code == Code::NoSlots && few_slots),
                "refused: {:?}",
                refused.collect::<Vec<_>>()
            );
            let watched = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            self.0.unmount()?;
            let ended = |heard: &[Notice]| {
                let ends = heard.iter().filter(|it| matches!(it, Notice::Upcall { ended: true, .. }));
                ends.count() == watched
            };
            listener.until("the end of all files of an unmounted filesystem", ended).await
        })?;
        self.0.mount().context("cannot mount it again")
    }
}
