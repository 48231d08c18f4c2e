//! `upcall detach`: removes what a daemon has left in the kernel.

use std::{io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::{
    config::{Config, DEFAULT_PIN},
    source::{PinError, Pins},
};

#[derive(Debug, Args)]
pub(super) struct DetachArgs {
    /// The daemon's configuration file (TOML), which says where it pins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory where it pins
    #[arg(long, value_name = "DIR", conflicts_with = "config", default_value = DEFAULT_PIN)]
    pin: PathBuf,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: DetachArgs) -> Result<()> {
    let pin = match &args.config {
        Some(path) => Config::read(path)?.pin,
        None => args.pin,
    };
    let removed = match Pins::open_there(&pin) {
        Err(PinError::InUse(path)) => bail!("a daemon is at work with {}: stop it first", path.display()),
        pins => pins?.map(Pins::remove).transpose()?.unwrap_or_default(),
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({"pin": pin, "programs": removed}))?;
    } else if removed.is_empty() {
        writeln!(out, "nothing was attached by way of {}", pin.display())?;
    } else {
        writeln!(out, "detached {} programs and removed {}", removed.len(), pin.display())?;
    }
    Ok(())
}
