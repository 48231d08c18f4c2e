//! Holding an open until it is over.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::command::Term;
use super::holder::Holder;
use super::notice;
use super::voice::Voice;

/// What has been granted, for a script and for a person.
pub(super) type Granted = (Value, String);

/// Runs `command` and tells what happens meanwhile; without one, until a signal ends it. Fails if what is held
/// was lost before the end.
pub(super) async fn hold(
    mut holder: Holder,
    mut term: Term,
    open: u64,
    command: &[OsString],
    json: bool,
    (line, human): Granted,
) -> Result<ExitCode> {
    let voice = Voice { json, aside: !command.is_empty() };
    if let Err(error) = term.run(command) {
        holder.give_up(open).await;
        return Err(error);
    }
    // A person who runs a command sees what that does.
    if json || !voice.aside {
        voice.tell(&line, &human)?;
    }
    let mut lost = None;
    let code = loop {
        tokio::select! {
            code = term.end() => break code?,
            notice = holder.upcalls.next() => {
                let notice = notice.context("the connection to the daemon is lost for good")?;
                if let Some((line, human)) = notice::line(&notice) {
                    voice.tell(&line, &human)?;
                }
                lost = lost.or_else(|| notice::lost(&notice));
                if lost.is_some() && command.is_empty() {
                    break ExitCode::FAILURE;
                }
            }
        }
    };
    let closed = holder.state.close(open).await.context("cannot give it up: it ends with the grace");
    match lost {
        Some(why) => bail!("not held to the end: {why}"),
        None => closed.map(|()| code),
    }
}
