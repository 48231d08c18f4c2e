//! Figures of what rounds have measured.

use anyhow::{Context, Result};

use super::{AGAIN, Round, UNWATCHED, UNWATCHED_OTHERS, WATCHED, WATCHED_MANY};
use crate::{
    calls::Cost,
    peers::{FANOTIFY, INOTIFY, NO_DAEMON},
    report::{Figure, Target},
    stats::median,
};

const OURS: [&str; 4] = [UNWATCHED, UNWATCHED_OTHERS, WATCHED, WATCHED_MANY];

pub(super) fn all(filesystem: &str, ours: Target, rounds: &[Round]) -> Result<()> {
    let states = rounds.first().context("no round")?.iter().map(|(state, _)| *state);
    let none = values(rounds, NO_DAEMON, |cost| cost.cpu);
    for state in states.filter(|state| *state != NO_DAEMON) {
        let values = values(rounds, state, |cost| cost.cpu);
        let target = if OURS.contains(&state) { ours } else { Target::None };
        let name = format!("write on {filesystem}, {state}");
        Figure::paired(name, "ns", &values, (NO_DAEMON, &none), target).print()?;
    }
    // Without a limit for itself, what is added is compared.
    if matches!(ours, Target::None) {
        for (state, peer, most) in [
            (UNWATCHED, FANOTIFY, 0.25),
            (UNWATCHED_OTHERS, FANOTIFY, 0.25),
            (WATCHED, INOTIFY, 0.5),
            (WATCHED_MANY, INOTIFY, 0.5),
        ] {
            let added = |state| added(&values(rounds, state, |cost| cost.cpu), &none);
            let name = format!("added to a write on {filesystem}, {state}");
            let target = Target::RatioAtMost(most);
            Figure::beside(name, "ns", added(state), (peer, added(peer)), target).print()?;
        }
    }
    clocks(filesystem, rounds)
}

/// On a quiet machine a thread that has a processor for itself spends processor time as fast as the wall's.
fn clocks(filesystem: &str, rounds: &[Round]) -> Result<()> {
    for state in [NO_DAEMON, AGAIN, UNWATCHED, WATCHED, INOTIFY] {
        let (cpu, wall) = (values(rounds, state, |cost| cost.cpu), values(rounds, state, |cost| cost.wall));
        let name = format!("processor time of a write on {filesystem}, {state}");
        Figure::paired(name, "ns", &cpu, ("wall time", &wall), Target::None).print()?;
    }
    Ok(())
}

fn values(rounds: &[Round], wanted: &str, value: impl Fn(&Cost) -> f64) -> Vec<f64> {
    let costs = rounds.iter().flatten().filter(|(state, _)| *state == wanted);
    costs.map(|(_, cost)| value(cost)).collect()
}

fn added(values: &[f64], none: &[f64]) -> f64 {
    let added: Vec<f64> = values.iter().zip(none).map(|(value, none)| value - none).collect();
    median(&added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_side_by_side() {
        assert_eq!(added(&[12.0, 102.0, 1003.0], &[10.0, 100.0, 1000.0]), 2.0);
    }

    #[test]
    fn values_are_of_one_state_in_the_order_of_rounds() {
        let cost = |cpu| Cost { cpu, wall: 2.0 * cpu };
        let rounds = [vec![(NO_DAEMON, cost(1.0)), (INOTIFY, cost(5.0))], vec![(NO_DAEMON, cost(2.0))]];
        assert_eq!(values(&rounds, NO_DAEMON, |cost| cost.cpu), [1.0, 2.0]);
        assert_eq!(values(&rounds, INOTIFY, |cost| cost.wall), [10.0]);
    }
}
