//! Figures of what rounds have measured.

use anyhow::{Context, Result};

use super::{AGAIN, FANOTIFY, INOTIFY, NONE, Round, UNWATCHED, UNWATCHED_OTHERS, WATCHED, WATCHED_MANY};
use crate::{
    report::{Figure, Target},
    stats::{median, paired_ratio},
    writes::Cost,
};

const OURS: [&str; 4] = [UNWATCHED, UNWATCHED_OTHERS, WATCHED, WATCHED_MANY];

pub(super) fn all(filesystem: &str, ours: Target, rounds: &[Round]) -> Result<()> {
    let states = rounds.first().context("no round")?.iter().map(|(state, _)| *state);
    let none = values(rounds, NONE, |cost| cost.cpu);
    for state in states.filter(|state| *state != NONE) {
        let values = values(rounds, state, |cost| cost.cpu);
        let target = if OURS.contains(&state) { ours } else { Target::None };
        Figure::beside(
            format!("write on {filesystem}, {state}"),
            "ns",
            median(&values),
            (NONE, median(&none)),
            Target::None,
        )
        .with_ratio(paired_ratio(&values, &none), target)
        .print()?;
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
    for state in [NONE, AGAIN, UNWATCHED, WATCHED, INOTIFY] {
        let (cpu, wall) = (values(rounds, state, |cost| cost.cpu), values(rounds, state, |cost| cost.wall));
        let name = format!("processor time of a write on {filesystem}, {state}");
        Figure::beside(name, "ns", median(&cpu), ("wall time", median(&wall)), Target::None)
            .with_ratio(paired_ratio(&cpu, &wall), Target::None)
            .print()?;
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
        let rounds = [vec![(NONE, cost(1.0)), (INOTIFY, cost(5.0))], vec![(NONE, cost(2.0))]];
        assert_eq!(values(&rounds, NONE, |cost| cost.cpu), [1.0, 2.0]);
        assert_eq!(values(&rounds, INOTIFY, |cost| cost.wall), [10.0]);
    }
}
