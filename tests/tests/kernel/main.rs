//! Real filesystems, the real daemon, real clients, and processes that change files. Needs root; see
//! `tests/src/filesystem.rs` for where it runs.

mod account;
mod attributes;
mod bad_input;
mod barrier;
mod coherence;
mod coverage;
mod hold;
mod in_flight;
mod inodes;
mod lifecycle;
mod lifetime;
mod masks;
mod names;
mod operator;
mod originator;
mod overflow;
mod pins;
mod race;
mod restart;
mod slow;
mod state;
mod subvolumes;
mod tick;
mod trials;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::Arguments;
use tests::{filesystem::Filesystems, helper};

use crate::{coverage::Tally, trials::Trials};

fn main() -> ExitCode {
    let (role, done) = match helper::play() {
        Some(played) => ("helper", played.map(|()| ExitCode::SUCCESS)),
        None => ("kernel tests", run()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{role}: {error:?}");
        ExitCode::FAILURE
    })
}

fn run() -> tests::Result<ExitCode> {
    let mut words = std::env::args().collect::<Vec<_>>();
    type Long = for<'a> fn(&'a Filesystems, &str) -> tests::Result<Trials<'a>>;
    let long: Option<Long> = match words.get(1).map(String::as_str) {
        Some(coherence::LONG) => Some(coherence::long),
        Some(state::random::LONG) => Some(state::random::long),
        _ => None,
    };
    let long = long.map(|long| (long, words.drain(1..words.len().min(3)).nth(1).unwrap_or_default()));
    let mut args = Arguments::from_iter(words);
    // A test is a process that changes files, a daemon and two clients: there is nothing to gain.
    args.test_threads.get_or_insert(1);
    let filesystems = filesystems(&args)?;
    if let Some((long, plan)) = long {
        let trials = long(&filesystems, &plan)?.list();
        return Ok(libtest_mimic::run(&args, trials).exit_code());
    }
    let tally = Arc::default();
    let conclusion = libtest_mimic::run(&args, trials(&filesystems, &tally).list());
    print!("{tally}");
    Ok(conclusion.exit_code())
}

fn filesystems(args: &Arguments) -> tests::Result<Filesystems> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Filesystems::none("needs root"));
    }
    if args.list {
        return Ok(Filesystems::none("only listed"));
    }
    let filesystems = Filesystems::get()?;
    for (name, filesystem) in &filesystems.all {
        if let Err(reason) = filesystem {
            println!("no {name}: {reason}");
        }
    }
    Ok(filesystems)
}

fn trials<'a>(filesystems: &'a Filesystems, tally: &Arc<Tally>) -> Trials<'a> {
    let mut trials = Trials::new(filesystems);
    coverage::add(&mut trials, tally);
    masks::add(&mut trials);
    attributes::add(&mut trials);
    names::add(&mut trials);
    originator::add(&mut trials);
    account::add(&mut trials);
    overflow::add(&mut trials);
    bad_input::add(&mut trials);
    operator::add(&mut trials);
    lifecycle::add(&mut trials);
    lifetime::add(&mut trials);
    inodes::add(&mut trials);
    barrier::add(&mut trials);
    race::add(&mut trials);
    restart::add(&mut trials);
    pins::add(&mut trials);
    in_flight::add(&mut trials);
    subvolumes::add(&mut trials);
    tick::add(&mut trials);
    coherence::add(&mut trials);
    slow::add(&mut trials);
    hold::add(&mut trials);
    state::add(&mut trials);
    coverage::check(&mut trials);
    trials
}
