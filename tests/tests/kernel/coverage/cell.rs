//! One cell of the table: one change on one filesystem.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use tests::{
    Result,
    listener::{Listener, cookies, told},
    op::{Op, Shown, Subject},
    scene::Scene,
    state::{Reader, State},
};
use tokio::time::Instant;
use upcall_client::{Watch, change};
use upcall_common::paths::Gap;

use super::{debug::Suspect, stand::Ears};

/// How it turned out, where it did not fail.
pub(super) enum Verdict {
    Told,
    /// As the table says.
    Missed(&'static Gap),
    /// The filesystem does not have it.
    Unsupported(Errno),
}

/// The cookie of what nobody changes.
const NEIGHBOUR: u64 = 99;

/// Something that is watched; its place among the subjects is its cookie.
struct Watched {
    subject: &'static Subject,
    path: PathBuf,
    reader: Reader,
}

pub(super) async fn judge(
    ears: &mut Ears,
    scene: &Scene,
    op: &'static Op,
    gap: Option<&'static Gap>,
    shown: Option<Shown>,
) -> Result<Verdict> {
    if let Err(errno) = ears.helper.prepare(op.name, scene.path())? {
        return unsupported(op, errno);
    }
    let watched =
        op.subjects.iter().map(|subject| Watched::new(subject, scene)).collect::<Result<Vec<_>>>()?;
    let mut interests = Vec::new();
    for listener in [&mut ears.unix, &mut ears.tcp] {
        let subjects = watched.iter().zip(0..).map(|(watched, cookie)| Watch::path(&watched.path, cookie));
        let neighbour = Watch::path(scene.path().join("neighbour"), NEIGHBOUR);
        let watches = subjects.chain([neighbour]).map(|watch| watch.mask(change::ANY));
        let made = listener.watch(watches.collect()).await?;
        interests.push(made.iter().map(|made| made.interest).collect::<Vec<_>>());
    }
    ears.unix.rest().await?;
    ears.tcp.quiet().await?;
    let before = watched.iter().map(|watched| watched.reader.look()).collect::<Result<Vec<_>>>()?;
    let suspects = watched.iter().map(|watched| Suspect::at(&watched.path)).collect::<Result<Vec<_>>>()?;
    ears.debug.skip(&mut ears.helper)?;
    let verdict = match (ears.helper.change()?, gap) {
        (Err(errno), _) => unsupported(op, errno)?,
        (Ok(()), None) => {
            for listener in [&mut ears.unix, &mut ears.tcp] {
                let seen = told_in_time(listener, &watched).await?;
                compare(op, &watched, &before, &seen)?;
                strangers(listener, &watched)?;
            }
            if let Some(shown) = shown {
                ears.debug.check(&mut ears.helper, shown, &suspects)?;
            }
            Verdict::Told
        }
        (Ok(()), Some(gap)) => {
            ears.unix.rest_and_keep().await?;
            ears.tcp.sync().await?;
            for listener in [&ears.unix, &ears.tcp] {
                missed(listener, &watched, gap)?;
                strangers(listener, &watched)?;
            }
            Verdict::Missed(gap)
        }
    };
    for (listener, interests) in [&mut ears.unix, &mut ears.tcp].into_iter().zip(interests) {
        let client = listener.client.clone();
        listener.listening(client.unregister(interests)).await??;
        listener.quiet().await?;
    }
    ears.helper.end()?;
    Ok(verdict)
}

fn unsupported(op: &Op, errno: i32) -> Result<Verdict> {
    let error = Errno::from_raw(errno);
    ensure!(op.is_unsupported(errno), "the kernel refused the change: {error}");
    Ok(Verdict::Unsupported(error))
}

impl Watched {
    fn new(subject: &'static Subject, scene: &Scene) -> Result<Self> {
        let path = scene.path().join(subject.path);
        let reader = if subject.ends { Reader::by_name(&path) } else { Reader::open(&path)? };
        Ok(Self { subject, path, reader })
    }

    fn is_covered(&self, told: u32) -> bool {
        let missing = self.subject.expected & !told;
        // OTHER stands for every change but an end.
        missing == 0 || (told & change::OTHER != 0 && missing & change::ALWAYS == 0)
    }
}

/// What a reader saw of each after its last upcall.
async fn told_in_time(listener: &mut Listener, watched: &[Watched]) -> Result<Vec<State>> {
    let begin = Instant::now();
    let mut seen: Vec<Option<State>> = vec![None; watched.len()];
    let mut read = 0;
    loop {
        look(listener, watched, &mut read, &mut seen)?;
        let late =
            watched.iter().zip(0..).find(|(it, cookie)| !it.is_covered(told(&listener.heard, *cookie)));
        let Some((late, cookie)) = late else { break };
        let names = |mask| change::names(mask).collect::<Vec<_>>().join("|");
        let (wanted, told) = (names(late.subject.expected), names(told(&listener.heard, cookie)));
        let what = format!("{wanted} of {}, told {told:?}, {:?}", late.subject.path, begin.elapsed());
        listener.next(&what).await?;
    }
    listener.sync().await?;
    look(listener, watched, &mut read, &mut seen)?;
    seen.into_iter().collect::<Option<_>>().context("there was no upcall")
}

/// Looks at what there were upcalls of since the last time.
fn look(
    listener: &Listener,
    watched: &[Watched],
    read: &mut usize,
    seen: &mut [Option<State>],
) -> Result<()> {
    let new = listener.heard.get(*read..).unwrap_or_default();
    *read = listener.heard.len();
    for cookie in cookies(new) {
        let place = usize::try_from(cookie)?;
        if let (Some(watched), Some(seen)) = (watched.get(place), seen.get_mut(place)) {
            *seen = Some(watched.reader.look()?);
        }
    }
    Ok(())
}

/// That everything has changed, and that a reader after the last upcall saw all of it.
fn compare(op: &Op, watched: &[Watched], before: &[State], seen: &[State]) -> Result<()> {
    for ((watched, before), seen) in watched.iter().zip(before).zip(seen) {
        let (path, after) = (watched.subject.path, watched.reader.look()?);
        ensure!(!op.visible || *before != after, "{path} has not changed");
        ensure!(*seen == after, "{path}: a reader after the last upcall saw {seen:?} instead of {after:?}");
    }
    Ok(())
}

/// That nobody was told of what has not changed.
fn strangers(listener: &Listener, watched: &[Watched]) -> Result<()> {
    let known = |cookie: u64| usize::try_from(cookie).is_ok_and(|cookie| cookie < watched.len());
    match cookies(&listener.heard).find(|cookie| !known(*cookie)) {
        None => Ok(()),
        Some(cookie) => bail!("told of {cookie}, which nobody has changed: {:?}", listener.heard),
    }
}

/// That the table does not deny what is told.
fn missed(listener: &Listener, watched: &[Watched], gap: &Gap) -> Result<()> {
    if !gap.always {
        return Ok(());
    }
    for (watched, cookie) in watched.iter().zip(0..) {
        let told = told(&listener.heard, cookie);
        ensure!(!watched.is_covered(told), "{} is told, although it says: {}", watched.subject.path, gap.why);
    }
    Ok(())
}
