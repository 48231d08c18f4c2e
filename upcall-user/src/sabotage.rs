//! Promises broken on request: `UPCALL_SABOTAGE` names one. Compiled only with the feature `sabotage`.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the environment asks for; anything else breaks nothing.
enum Sabotage {
    /// `drop-record:N`: one record of the dirty ring in N is dropped.
    DropRecord(u64),
    /// `skip-scan:N`: one scan in N does not happen.
    SkipScan(u64),
    /// `lose-registration:N`: one inode in N is not watched any more after a restart.
    LoseRegistration(u64),
    /// `false-unchanged`: whoever holds a version is told that nothing has changed.
    FalseUnchanged,
}

static SABOTAGE: LazyLock<Option<Sabotage>> = LazyLock::new(|| {
    let wanted = std::env::var("UPCALL_SABOTAGE").ok()?;
    let sabotage = match wanted.split_once(':') {
        None if wanted == "false-unchanged" => Sabotage::FalseUnchanged,
        Some(("lose-registration", number)) => Sabotage::LoseRegistration(number.parse().ok()?),
        Some(("drop-record", number)) => Sabotage::DropRecord(number.parse().ok()?),
        Some(("skip-scan", number)) => Sabotage::SkipScan(number.parse().ok()?),
        _ => return None,
    };
    tracing::warn!("promises are broken: {wanted}");
    Some(sabotage)
});

pub fn drops_record() -> bool {
    static RECORDS: AtomicU64 = AtomicU64::new(0);
    matches!(*SABOTAGE, Some(Sabotage::DropRecord(number)) if is_nth(&RECORDS, number))
}

pub fn skips_scan() -> bool {
    static SCANS: AtomicU64 = AtomicU64::new(0);
    matches!(*SABOTAGE, Some(Sabotage::SkipScan(number)) if is_nth(&SCANS, number))
}

pub fn loses_registration() -> bool {
    static ADOPTED: AtomicU64 = AtomicU64::new(0);
    matches!(*SABOTAGE, Some(Sabotage::LoseRegistration(number)) if is_nth(&ADOPTED, number))
}

pub fn says_unchanged() -> bool {
    matches!(*SABOTAGE, Some(Sabotage::FalseUnchanged))
}

fn is_nth(count: &AtomicU64, number: u64) -> bool {
    (count.fetch_add(1, Relaxed) + 1).is_multiple_of(number)
}
