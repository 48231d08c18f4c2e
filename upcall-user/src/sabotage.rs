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
    /// `overlook-lease:N`: one look in N sees no lease of others that is in the way.
    OverlookLease(u64),
    /// `yield-lease`: a lease that a local process breaks does not keep it waiting.
    YieldLease,
    /// `keep-file:N`: one file in N of which nothing is held any more stays open.
    KeepFile(u64),
}

static SABOTAGE: LazyLock<Option<Sabotage>> = LazyLock::new(|| {
    let wanted = std::env::var("UPCALL_SABOTAGE").ok()?;
    let sabotage = match wanted.split_once(':') {
        None if wanted == "false-unchanged" => Sabotage::FalseUnchanged,
        None if wanted == "yield-lease" => Sabotage::YieldLease,
        Some(("overlook-lease", number)) => Sabotage::OverlookLease(number.parse().ok()?),
        Some(("keep-file", number)) => Sabotage::KeepFile(number.parse().ok()?),
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

pub fn overlooks_lease() -> bool {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    matches!(*SABOTAGE, Some(Sabotage::OverlookLease(number)) if is_nth(&LOOKS, number))
}

pub fn yields_lease() -> bool {
    matches!(*SABOTAGE, Some(Sabotage::YieldLease))
}

pub fn keeps_file() -> bool {
    static FILES: AtomicU64 = AtomicU64::new(0);
    matches!(*SABOTAGE, Some(Sabotage::KeepFile(number)) if is_nth(&FILES, number))
}

fn is_nth(count: &AtomicU64, number: u64) -> bool {
    (count.fetch_add(1, Relaxed) + 1).is_multiple_of(number)
}
