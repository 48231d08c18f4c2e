//! How long a test waits for what must come.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Whether the tests run in the virtual machine, where everything is emulated and slow.
pub fn in_vm() -> bool {
    std::env::var_os("UPCALL_TEST_FS").is_some()
}

/// As many, or a part of it that the virtual machine can do in time.
pub fn rounds(all: u64) -> u64 {
    if in_vm() { all.div_ceil(5) } else { all }
}

/// Longer than anything takes that works.
pub fn patience() -> Duration {
    if in_vm() { Duration::from_secs(120) } else { Duration::from_secs(10) }
}

/// Between two looks at something that cannot be waited for otherwise.
pub const LOOK: Duration = Duration::from_millis(5);

/// Looks until there is something to see.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_within(patience(), what, look)
}

/// Looks until there is something to see, for as long as that.
pub fn wait_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= end {
            bail!("waited in vain for {what}");
        }
        thread::sleep(LOOK);
    }
}
