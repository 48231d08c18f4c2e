//! How all grows with the number of interests, on as many files: what a write of another file costs, how soon an upcall
//! comes, the time to register and the memory that they take.

mod footprint;
mod prompt;
mod unwatched;

use std::path::PathBuf;

use ::tests::daemon::Daemon;
use anyhow::Result;

use crate::{
    arena::{self, Arena},
    library::{self, Library},
    memory,
    peers::{allow, watch_all},
    report::{Figure, Target},
    scale::Scale,
};
use footprint::Footprint;
use prompt::Prompt;
use unwatched::Unwatched;

/// What the targets are for: of fewer interests, the daemon's own size weighs too much.
const MANY: usize = 1_000_000;
const FEW: usize = 10;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let paths = arena::empty(&arena.ext4, "interests", scale.interests)?;
    small(arena, paths.get(..FEW).unwrap_or_default())?;
    let count = paths.len();
    let watches = bytes_of_watches(&paths)?;
    let of_many = |target| if count >= MANY { target } else { Target::None };

    let mut files = Unwatched::all(arena, scale)?;
    files.iter_mut().try_for_each(Unwatched::alone)?;
    let own = Prompt::files(arena)?;
    let before = memory::slabs()?;
    let daemon = Daemon::start(&arena.exports(), &format!("slots = {}", count + prompt::OWN + 1))?;
    let target = Target::of_writes(&daemon)?;
    let mut prompt = Prompt::start(&daemon, &own)?;
    let (mut clients, mut seconds, mut registered) = (Vec::new(), 0.0, 0);
    for step in steps(count) {
        let more = paths.get(registered..step).unwrap_or_default();
        let client = Library::start(&daemon.unix(), library::watches(more), |_, _| ())?;
        seconds += client.took.as_secs_f64();
        clients.push(client);
        registered = step;
        files.iter_mut().try_for_each(|file| file.beside(registered))?;
        prompt.beside(registered, scale)?;
    }
    let name = format!("registration of {count} interests by path");
    Figure::alone(name, "s", seconds, of_many(Target::AtMost(10.0))).print()?;
    let footprint = Footprint::of(&daemon, before)?;
    footprint.tell_inodes(of_many(Target::RatioAtMost(0.1)))?;
    footprint.tell_bytes(count, watches, of_many(Target::AtMost(300.0)))?;
    prompt.tell()?;
    drop((clients, prompt, daemon));
    files.iter_mut().try_for_each(Unwatched::alone)?;
    files.iter().try_for_each(|file| file.tell(target))
}

/// Numbers of interests: none, then tenfold each but for the last.
fn steps(most: usize) -> Vec<usize> {
    let tenfold = std::iter::successors(Some(1_usize), |step| step.checked_mul(10));
    [0].into_iter().chain(tenfold.take_while(|&step| step < most)).chain([most]).collect()
}

/// On an axis of powers, which has no 0.
fn place(interests: usize) -> f64 {
    interests as f64 + 1.0
}

/// A small daemon.
fn small(arena: &Arena, paths: &[PathBuf]) -> Result<()> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let _client = Library::start(&daemon.unix(), library::watches(paths), |_, _| ())?;
    let (own, maps) = memory::of_daemon(daemon.pid())?;
    let name = format!("daemon and maps with {} interests", paths.len());
    Ok(Figure::alone(name, "MB", (own + maps) as f64 / 1e6, Target::AtMost(40.0)).print()?)
}

/// Bytes that an inotify watch takes of the kernel, with the inode and the dentry that it keeps in memory.
fn bytes_of_watches(paths: &[PathBuf]) -> Result<f64> {
    let _allowed = allow(paths.len())?;
    let before = memory::slabs()?;
    let _watches = watch_all(paths)?;
    Ok(memory::slabs()?.saturating_sub(before) as f64 / paths.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_with_all() {
        assert_eq!(steps(1_000_000), [0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000]);
        assert_eq!(steps(20_000), [0, 1, 10, 100, 1000, 10_000, 20_000]);
        assert_eq!(steps(5), [0, 1, 5]);
    }
}
