//! What the cells of one filesystem share: a process that makes the changes, and two clients that listen.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use libtest_mimic::Completion;
use tests::{
    Result,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, runtime},
    op::{self, Op},
    scene::Scene,
};
use tokio::runtime::Runtime;
use upcall_common::paths::{MutationPath, Source};

use super::{
    cell::{self, Verdict},
    debug::Debug,
};

pub(super) struct Stand {
    runtime: Runtime,
    source: Source,
    ears: Ears,
    /// Spent on the cells so far.
    spent: Duration,
    cells: u32,
}

pub(super) struct Ears {
    pub(super) helper: Helper,
    pub(super) unix: Listener,
    pub(super) tcp: Listener,
    pub(super) debug: Debug,
    /// Where `debug` has its marker.
    _scene: Scene,
}

impl Stand {
    pub(super) fn on(filesystem: &Filesystem) -> Result<Self> {
        let daemon = filesystem.daemon()?;
        let status = daemon.status()?;
        let source = Source::ALL.into_iter().find(|source| status["source"] == source.name());
        let source = source.with_context(|| format!("an unknown source: {status}"))?;
        let runtime = runtime()?;
        let scene = Scene::within(&filesystem.root)?;
        let mut helper = Helper::start()?;
        let debug = Debug::start(filesystem, &mut helper, scene.path())?;
        let ears = runtime.block_on(async {
            anyhow::Ok(Ears {
                helper,
                debug,
                _scene: scene,
                unix: Listener::connect(&daemon.unix(), "unix").await?,
                tcp: Listener::connect(&daemon.tcp(), "tcp").await?,
            })
        })?;
        Ok(Self { runtime, source, ears, spent: Duration::ZERO, cells: 0 })
    }

    /// One cell of the table, on a stage of its own.
    pub(super) fn judge(
        &mut self,
        filesystem: &Filesystem,
        path: &MutationPath,
        op: &'static Op,
    ) -> Result<Verdict> {
        let begin = Instant::now();
        let scene = Scene::within(&filesystem.root)?;
        op::set(&scene)?;
        let gap = path.missed_on(self.source, filesystem.name);
        let shown = op.shown(self.source, filesystem.name);
        let verdict = self.runtime.block_on(cell::judge(&mut self.ears, &scene, op, gap, shown))?;
        self.spent += begin.elapsed();
        self.cells += 1;
        Ok(verdict)
    }

    /// After the last cell: nobody is told of anything any more.
    pub(super) fn close(mut self) -> Result<Completion> {
        println!(
            "{} cells took {} ms each",
            self.cells,
            self.spent.as_millis() / u128::from(self.cells.max(1))
        );
        self.runtime.block_on(async {
            self.ears.unix.rest_and_keep().await?;
            self.ears.tcp.sync().await?;
            for listener in [&self.ears.unix, &self.ears.tcp] {
                if let Some(notice) = listener.heard.first() {
                    bail!("heard {notice:?} without an interest");
                }
            }
            Ok(Completion::Completed)
        })
    }
}
