//! What a system call costs whoever makes it.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

use crate::{pin, stats::median};

/// Nanoseconds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The thread's own processor time, so that what else the machine does is left out.
    pub cpu: f64,
    /// The same batches by the clock on the wall.
    pub wall: f64,
}

/// The medians of the means of batches, each longer than a tick of the clock, by a thread that has a processor for
/// itself.
pub fn per_call(batches: u32, batch: u32, mut call: impl FnMut() -> Result<()>) -> Result<Cost> {
    let _pinned = pin::writer()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    let mean = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(batch);
    for _ in 0..batches {
        let (start, used_before) = (Instant::now(), used()?);
        for _ in 0..batch {
            call()?;
        }
        cpu.push(mean(used()?.saturating_sub(used_before)));
        wall.push(mean(start.elapsed()));
    }
    Ok(Cost { cpu: median(&cpu), wall: median(&wall) })
}

fn used() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
