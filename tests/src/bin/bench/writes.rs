//! What a write of 64 bytes costs whoever makes it.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

use crate::{pin, scale::Scale, stats::median};

/// Nanoseconds of a write.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The thread's own processor time, so that what else the machine does is left out.
    pub cpu: f64,
    /// The same batches by the clock on the wall.
    pub wall: f64,
}

/// The medians of the means of batches, each longer than a tick of the clock, by a thread that has a processor for
/// itself.
pub fn per_write(file: &File, batches: u32, batch: u32) -> Result<Cost> {
    let _pinned = pin::writer()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    let mean = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(batch);
    for _ in 0..batches {
        let (start, used_before) = (Instant::now(), used()?);
        for _ in 0..batch {
            file.write_at(&[1; 64], 0)?;
        }
        cpu.push(mean(used()?.saturating_sub(used_before)));
        wall.push(mean(start.elapsed()));
    }
    Ok(Cost { cpu: median(&cpu), wall: median(&wall) })
}

/// As [`per_write`] does it in each round of each state.
pub fn sample(file: &File, scale: &Scale) -> Result<Cost> {
    per_write(file, scale.batches, scale.batch)
}

fn used() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
