//! What the daemon does while files are written that nobody watches: nothing.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use ::tests::{daemon::Daemon, deadline::LOOK};
use anyhow::{Context, Result};

use crate::{
    arena::{self, Arena},
    library::{self, Library},
    report::{Figure, Target},
    scale::Scale,
};

const FILES: usize = 10_000;
/// The daemon looks so often whether the kernel skipped its programs, whatever is written.
const TIMER: Duration = Duration::from_secs(5);

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let watched = arena::files(&arena.tmpfs, "idle-watched", 1)?;
    let _client = Library::start(&daemon.unix(), library::watches(&watched), |_, _| ())?;
    let paths = arena::files(&arena.tmpfs, "idle", FILES)?;
    let open = |path: &PathBuf| File::options().write(true).open(path);
    let files = paths.iter().map(open).collect::<std::io::Result<Vec<_>>>()?;
    settled(&daemon)?;
    let before = Spent::by(daemon.pid())?;
    let start = Instant::now();
    while start.elapsed() < scale.idle {
        files.iter().try_for_each(|file| file.write_at(&[1; 64], 0).map(drop))?;
    }
    let after = Spent::by(daemon.pid())?;
    let name = format!("wake-ups by {FILES} unwatched files being written");
    let own = start.elapsed().as_secs() / TIMER.as_secs() + 1;
    let switches = (after.switches - before.switches).saturating_sub(own);
    Figure::alone(name, "", switches as f64, Target::AtMost(0.0)).print()?;
    let ticks = (after.ticks - before.ticks) as f64;
    Ok(Figure::alone("CPU time meanwhile", "ticks", ticks, Target::AtMost(0.0)).print()?)
}

/// Waits until the daemon rests after the registration.
fn settled(daemon: &Daemon) -> Result<()> {
    let mut last = Spent::by(daemon.pid())?;
    let mut quiet = Duration::ZERO;
    while quiet < LOOK * 20 {
        std::thread::sleep(LOOK);
        let now = Spent::by(daemon.pid())?;
        quiet = if now.switches == last.switches { quiet + LOOK } else { Duration::ZERO };
        last = now;
    }
    Ok(())
}

/// By all threads of a process so far.
#[derive(Debug)]
struct Spent {
    switches: u64,
    ticks: u64,
}

impl Spent {
    fn by(pid: u32) -> Result<Self> {
        let mut spent = Self { switches: 0, ticks: 0 };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            spent.switches += switches(&fs::read_to_string(task.join("status"))?);
            spent.ticks += ticks(&fs::read_to_string(task.join("stat"))?).context("no times in stat")?;
        }
        Ok(spent)
    }
}

fn switches(status: &str) -> u64 {
    let lines = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// utime and stime, the 14th and 15th field; the second one, a name, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(switches(status), 7);
    }

    #[test]
    fn times_come_after_a_name_of_any_kind() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a"), None);
    }
}
