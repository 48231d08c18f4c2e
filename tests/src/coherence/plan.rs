//! What a run does: all of it follows from this, as far as scheduling allows.

use std::{collections::BTreeSet, fmt, str::FromStr};

use anyhow::{Context, Error, Result, bail, ensure};

use super::board::{MOST_OF_EACH, STAGES};

/// As a text: `seed=1 seconds=20 writers=3 clients=6 stages=10 faults=ring,kill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub seconds: u64,
    pub writers: usize,
    pub clients: usize,
    pub stages: usize,
    pub faults: BTreeSet<Fault>,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal),+ $(,)?) => {
        /// What goes wrong, now and then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[doc = $doc])+ $fault),+ }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$fault),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }
        }
    };
}

faults! {
    /// The dirty ring is one page, and the daemon does not empty it for a while.
    Ring = "ring",
    /// The event ring is full: somebody asks for events and does not read them.
    Events = "events",
    /// The daemon is killed and started again.
    Kill = "kill",
    /// The daemon ends when asked to, and another copy of the program takes its place.
    Upgrade = "upgrade",
    /// Clients are killed.
    Clients = "clients",
    /// Clients are stopped for a while.
    Stop = "stop",
    /// TCP connections break anywhere, in the middle of a frame too.
    Cut = "cut",
    /// A client registers and never reads.
    Mute = "mute",
    /// There are fewer slots than inodes that somebody wants to watch.
    Slots = "slots",
    /// Files are made and deleted so fast that their inode numbers come again.
    Reuse = "reuse",
    /// A filesystem is unmounted while it is watched.
    Unmount = "unmount",
    /// The daemon may have little more memory than it has at the start.
    Memory = "memory",
}

impl Plan {
    /// What runs it again.
    pub fn command(&self, filesystem: &str) -> String {
        format!("cargo xtask coherence --filesystem {filesystem} --plan '{self}'")
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, seconds: 10, writers: 3, clients: 6, stages: 10, faults: BTreeSet::new() }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, seconds, writers, clients, stages, faults } = self;
        let faults: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(",") };
        write!(
            f,
            "seed={seed} seconds={seconds} writers={writers} clients={clients} stages={stages} faults={faults}"
        )
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
    let count = |most: usize| -> Result<usize> {
        let count = value.parse()?;
        ensure!((1..=most).contains(&count), "from 1 to {most}");
        Ok(count)
    };
    match key {
        "seed" => plan.seed = value.parse()?,
        "seconds" => plan.seconds = value.parse()?,
        "writers" => plan.writers = count(MOST_OF_EACH)?,
        "clients" => plan.clients = count(MOST_OF_EACH)?,
        // One more may come for the crowd.
        "stages" => plan.stages = count(STAGES - 1)?,
        "faults" => plan.faults = faults(value)?,
        _ => bail!("there is no such setting"),
    }
    Ok(())
}

fn faults(list: &str) -> Result<BTreeSet<Fault>> {
    let named = |name: &str| Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    match list {
        "all" => Ok(Fault::ALL.iter().copied().collect()),
        "none" => Ok(BTreeSet::new()),
        _ => list
            .split(',')
            .map(|name| named(name).with_context(|| format!("there is no fault `{name}`")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() -> Result<()> {
        for text in ["", "faults=all", "seed=18446744073709551615 faults=cut,ring writers=1 stages=63"] {
            let plan: Plan = text.parse()?;
            assert_eq!(plan.to_string().parse::<Plan>()?, plan, "{text}");
        }
        assert_eq!("".parse::<Plan>()?, Plan::default());
        assert_eq!("faults=all".parse::<Plan>()?.faults.len(), Fault::ALL.len());
        Ok(())
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["seed", "seed=x", "writers=0", "stages=64", "clients=17", "faults=rain", "weather=rain"]
        {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
