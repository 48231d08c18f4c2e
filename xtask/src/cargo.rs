//! Cargo, called from within Cargo.

use std::{env, process::Command};

use crate::paths;

/// The Cargo that runs us, at the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    forget_package(&mut command);
    command
}

/// Takes away what `cargo run` told us about our own package, so that nested builds do not see it and
/// rebuild what an outer build made without it.
pub(crate) fn forget_package(command: &mut Command) {
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in env::vars_os() {
        if told.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}
