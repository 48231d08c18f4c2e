//! A client by hand: a blocking socket and the codec.

use std::{path::Path, thread, time::Instant};

use anyhow::{Result, bail, ensure};
use tests::raw::Raw;
use upcall_client::{Address, Code};
use upcall_common::{
    change,
    wire::{Message, RegisterItem, Target},
};

/// Watches a file until the daemon ends; `hear` gets the moment after each upcall was decoded.
pub fn start(address: &Address, file: &Path, mut hear: impl FnMut(Instant) + Send + 'static) -> Result<()> {
    let mut raw = Raw::welcomed(address, "bench")?;
    match raw.ask(&register(file))? {
        Message::Registered(outcomes) => {
            ensure!(outcomes.iter().all(|outcome| outcome.code == Code::Ok), "refused: {outcomes:?}");
        }
        other => bail!("REGISTER was answered by {other:?}"),
    }
    thread::spawn(move || {
        loop {
            match raw.receive() {
                Ok(Some((_, Message::Upcall(_)))) => hear(Instant::now()),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => return eprintln!("bench: a bare client ends: {error:#}"),
            }
        }
    });
    Ok(())
}

/// One interest in all changes, also the client's own.
pub fn register(file: &Path) -> Message {
    Message::Register(vec![RegisterItem {
        cookie: 0,
        mask: change::ANY,
        include_own: true,
        names: false,
        lifetime_ms: 0,
        known_version: 0,
        target: Target::Path(file.as_os_str().as_encoded_bytes().to_vec()),
    }])
}
