//! The kernel's coarse clocks: the ones it stamps inodes with.

use std::io;

use nix::time::{ClockId, clock_getres, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC_COARSE`.
pub fn coarse_monotonic_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
    nanoseconds(now.tv_sec(), now.tv_nsec())
}

/// Seconds and nanoseconds of `CLOCK_REALTIME_COARSE`.
pub fn coarse_realtime() -> io::Result<(i64, u32)> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
    Ok((now.tv_sec(), u32::try_from(now.tv_nsec()).map_err(io::Error::other)?))
}

/// How far the coarse clocks step at a time: one tick of the kernel.
pub fn coarse_resolution_ns() -> io::Result<u64> {
    let step = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?;
    nanoseconds(step.tv_sec(), step.tv_nsec())
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> io::Result<u64> {
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|ns| ns.checked_add(nanoseconds))
        .and_then(|ns| u64::try_from(ns).ok())
        .ok_or_else(|| io::Error::other("the clock is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance_by_the_resolution() {
        let step = coarse_resolution_ns().unwrap();
        assert!((1..=100_000_000).contains(&step), "{step}");
        let start = coarse_monotonic_ns().unwrap();
        let (sec, nsec) = coarse_realtime().unwrap();
        assert!(sec > 1_600_000_000 && nsec < 1_000_000_000);
        while coarse_monotonic_ns().unwrap() == start {
            std::hint::spin_loop();
        }
        assert!(coarse_monotonic_ns().unwrap() >= start + step / 2);
        assert!(coarse_realtime().unwrap() > (sec, nsec));
    }
}
