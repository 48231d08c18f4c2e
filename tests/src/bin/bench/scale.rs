//! How much is done.

use std::time::Duration;

use tests::deadline::in_vm;

#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Of measures that alternate between the daemon and its peers.
    pub rounds: u32,
    pub batches: u32,
    /// Writes; together longer than a tick of the clock.
    pub batch: u32,
    pub latency_rounds: u32,
    /// Of a peer that gathers changes for a while before it tells.
    pub slow_rounds: u32,
    pub recall_rounds: u32,
    pub clients: &'static [usize],
    pub client_rounds: u32,
    pub idle: Duration,
    pub registrations: usize,
    pub registration_rounds: u32,
    pub interests: usize,
    pub leases: usize,
}

impl Scale {
    pub fn of(quick: bool) -> Self {
        let full = Self {
            rounds: 15,
            batches: 6,
            batch: 16_384,
            latency_rounds: 3400,
            slow_rounds: 200,
            recall_rounds: 2000,
            clients: &[1, 10, 100, 1000, 10_000],
            client_rounds: 5,
            idle: Duration::from_secs(4),
            registrations: 50_000,
            registration_rounds: 3,
            interests: 1_000_000,
            leases: 100_000,
        };
        let little = Self {
            rounds: 3,
            latency_rounds: 340,
            slow_rounds: 20,
            recall_rounds: 200,
            clients: &[1, 100, 1000],
            client_rounds: 2,
            idle: Duration::from_secs(1),
            registrations: 5000,
            registration_rounds: 1,
            interests: 20_000,
            leases: 5000,
            ..full
        };
        match (in_vm(), quick) {
            (true, true) => Self { batch: 1024, ..little },
            // Emulation is noisy.
            (true, false) => Self { batch: 1024, rounds: 7, ..little },
            (false, true) => little,
            (false, false) => full,
        }
    }
}
