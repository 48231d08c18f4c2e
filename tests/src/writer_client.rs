//! A client that writes the file that it watches.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use anyhow::Result;
use upcall_client::Watch;

use crate::listener::{Listener, block_on};

/// Writes once and prints how many upcalls came of it.
pub(crate) fn run(address: &str, file: &Path, include_own: bool) -> Result<()> {
    let address = address.parse()?;
    block_on(async {
        let mut listener = Listener::connect(&address, "writer").await?;
        listener.watch(vec![Watch::path(file, 1).include_own(include_own)]).await?;
        listener.rest().await?;
        File::options().write(true).open(file)?.write_all_at(b"my own", 0)?;
        listener.rest_and_keep().await?;
        println!("{}", listener.heard.len());
        Ok(())
    })
}
