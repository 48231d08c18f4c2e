//! A process with several clients.

use std::time::Duration;

use anyhow::Result;
use nix::sys::{prctl, signal::Signal};
use tokio::task::LocalSet;

use super::{
    client::Client,
    post::{Post, Report},
};
use crate::{crew::say, deadline::patience, listener::block_on};

/// Between two tries to connect.
pub(super) const RETRY: Duration = Duration::from_millis(100);

pub(super) fn run(post: &Post) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let board = post.open_board()?;
    block_on(async {
        let set = LocalSet::new();
        let board = std::rc::Rc::new(board);
        let mut clients = tokio::task::JoinSet::new();
        for member in post.first..post.first + post.count {
            let (post, board) = (post.clone(), board.clone());
            clients.spawn_local_on(
                async move {
                    let Some(mut client) = Client::begin(&post, board, member, patience() * 3).await? else {
                        return Ok(());
                    };
                    client.live().await?;
                    say(&Report::Counts(client.counts))?;
                    anyhow::Ok(())
                },
                &set,
            );
        }
        set.run_until(async {
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            Ok(())
        })
        .await
    })
}
