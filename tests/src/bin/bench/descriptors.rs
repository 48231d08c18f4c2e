//! How many files may be open, and so how many clients there may be.

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The daemon's for a client: its socket, and the process at the other end.
const PER_CLIENT: u64 = 2;
/// What else a daemon, or a crowd of clients, has open.
const OTHERS: u64 = 200;

/// Raises the limit of open files as far as this process may.
pub fn allow() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let kernel: u64 = std::fs::read_to_string("/proc/sys/fs/nr_open")?.trim().parse()?;
    let all = setrlimit(Resource::RLIMIT_NOFILE, kernel, kernel);
    // Without the capability, as far as it goes.
    all.or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most)).context("cannot have more open files")
}

/// Numbers of clients to measure with, and why there are no more of them.
pub fn clients(wanted: &[usize]) -> Result<(Vec<usize>, Option<String>)> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let (counts, left_out) = within(wanted, limit);
    let most = counts.last().copied().unwrap_or_default();
    let why = left_out.map(|count| {
        format!("{count} clients need {PER_CLIENT} descriptors each, and {limit} are allowed: {most} instead")
    });
    Ok((counts, why))
}

/// Those that the limit allows; in place of the first that it does not, as many hundreds as it does.
fn within(wanted: &[usize], limit: u64) -> (Vec<usize>, Option<usize>) {
    let most = usize::try_from(limit.saturating_sub(OTHERS) / PER_CLIENT).unwrap_or(usize::MAX);
    let mut counts: Vec<usize> = wanted.iter().copied().filter(|&count| count <= most).collect();
    let left_out = wanted.iter().copied().find(|&count| count > most);
    let hundreds = most / 100 * 100;
    if left_out.is_some() && counts.last().is_none_or(|&last| last < hundreds) && hundreds > 0 {
        counts.push(hundreds);
    }
    (counts, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_clients_as_the_limit_allows() {
        let wanted = [1, 100, 10_000];
        assert_eq!(within(&wanted, 1_000_000), (wanted.to_vec(), None));
        assert_eq!(within(&wanted, 20_000), (vec![1, 100, 9900], Some(10_000)));
        assert_eq!(within(&wanted, 400), (vec![1, 100], Some(10_000)));
        assert_eq!(within(&wanted, 100), (vec![], Some(1)));
    }
}
