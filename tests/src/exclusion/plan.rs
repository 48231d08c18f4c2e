//! What a run does: all of it follows from this, as far as scheduling allows.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Error, Result, bail, ensure};

/// As a text: `seed=1 seconds=20 clients=200 processes=20 files=12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub seconds: u64,
    pub clients: usize,
    /// Local ones.
    pub processes: usize,
    pub files: usize,
}

/// Most of each.
const MOST: usize = 1024;

/// What a holder has to return its lease, and again if it asks.
pub(crate) const RECALL: Duration = Duration::from_millis(800);
/// Long enough for all clients to come back to a daemon that has started anew.
pub(crate) const GRACE: Duration = Duration::from_secs(4);

impl Plan {
    pub(crate) fn members(&self) -> usize {
        self.clients + self.processes
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, seconds: 20, clients: 40, processes: 8, files: 24 }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, seconds, clients, processes, files } = self;
        write!(f, "seed={seed} seconds={seconds} clients={clients} processes={processes} files={files}")
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut plan = Self::default();
        for setting in text.split_whitespace() {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("`{setting}` is no KEY=VALUE"))?;
            set(&mut plan, key, value).with_context(|| format!("`{setting}` cannot be"))?;
        }
        Ok(plan)
    }
}

fn set(plan: &mut Plan, key: &str, value: &str) -> Result<()> {
    let count = || -> Result<usize> {
        let count = value.parse()?;
        ensure!((1..=MOST).contains(&count), "from 1 to {MOST}");
        Ok(count)
    };
    match key {
        "seed" => plan.seed = value.parse()?,
        "seconds" => plan.seconds = value.parse()?,
        "clients" => plan.clients = count()?,
        "processes" => plan.processes = count()?,
        "files" => plan.files = count()?,
        _ => bail!("there is no such setting"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() -> Result<()> {
        let text = "seed=18446744073709551615 seconds=3 clients=200 processes=20 files=1";
        assert_eq!(text.parse::<Plan>()?.to_string(), text);
        assert_eq!("".parse::<Plan>()?, Plan::default());
        for text in ["seed", "seed=x", "clients=0", "files=1025", "weather=rain"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
        Ok(())
    }
}
