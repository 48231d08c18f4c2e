//! The kernel's means to hold local processes to what clients have been granted.

mod leases;
mod ranges;

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    leases::add(trials);
    ranges::add(trials);
}
