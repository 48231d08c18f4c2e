//! `cargo xtask state`: the exclusion checker, for as long as one likes, on the running kernel.

use std::{
    fmt::Write,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};

use crate::coherence;

/// What the tests know as a long run.
const LONG: &str = "--exclusion";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What all random choices follow from. Another one each time when not given
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that hold leases, share reservations and locks
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Local processes that know nothing of the daemon
    #[arg(long, default_value_t = 20)]
    processes: usize,
    /// Settings that win over the others, as a run shows them: `seed=1 seconds=20 clients=40 ..`
    #[arg(long, default_value = "")]
    plan: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    coherence::native(&[LONG.to_owned(), plan(args, seed)?])
}

fn plan(args: &Args, seed: u64) -> Result<String> {
    let Args { minutes, clients, processes, .. } = args;
    let seconds = minutes * 60;
    ensure!(seconds > 0, "nothing is checked in no time");
    let mut plan = format!("seed={seed} seconds={seconds} clients={clients} processes={processes} files=120");
    if !args.plan.is_empty() {
        write!(plan, " {}", args.plan)?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn of(words: &[&str]) -> Result<String> {
        let args = Cli::try_parse_from([&["state"], words].concat())?.args;
        plan(&args, args.seed.unwrap_or_default())
    }

    #[test]
    fn what_is_asked_for_is_planned_and_a_given_plan_wins() -> Result<()> {
        let plan = of(&["--minutes", "2", "--seed", "7", "--clients", "9", "--processes", "3"])?;
        assert_eq!(plan, "seed=7 seconds=120 clients=9 processes=3 files=120");
        assert!(of(&["--plan", "seed=9"])?.ends_with(" seed=9"));
        assert!(of(&["--minutes", "0"]).is_err());
        Ok(())
    }
}
