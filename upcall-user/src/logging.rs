//! Logs: tracing to standard error; records of the `log` crate, and so of the BPF programs, arrive there too.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

pub fn init(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter).context("the option `log` is no log level or filter")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Human => logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    done.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// The most detailed level that the BPF programs need to write.
pub fn bpf_level() -> u8 {
    log::max_level() as u8
}

/// Passes the BPF programs' records on for as long as the daemon runs.
pub async fn forward(mut records: AsyncFd<EbpfLogger<&'static dyn log::Log>>) {
    loop {
        match records.readable_mut().await {
            Ok(mut guard) => {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the BPF programs' log");
                return;
            }
        }
    }
}
