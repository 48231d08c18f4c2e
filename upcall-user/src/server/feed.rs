//! What a session sends unasked.

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use upcall_common::wire::{Code, Message, ResyncReason};

use super::{
    outlet::Over,
    session::{End, frame},
    transport::Transport,
};
use crate::hub::{ClientIndex, Hub};

/// From where it comes, for one client.
pub(super) struct Feed<'a> {
    pub(super) hub: &'a Hub,
    pub(super) client: ClientIndex,
    /// Wakes the session.
    pub(super) woken: &'a Notify,
    pub(super) gaps: &'a mut watch::Receiver<u64>,
    pub(super) shutdown: watch::Receiver<bool>,
}

impl Feed<'_> {
    /// Takes the connection over from others who send, and sends what waits; whether there may be more.
    pub(super) async fn send(&mut self, transport: &Transport) -> Result<bool, End> {
        match transport.outlet.close() {
            None => {}
            Some(Over::Superseded) => return Err(End::Superseded),
            Some(Over::Slow) => {
                let reason = "the client has not read what it was told of what it holds";
                return Err(End::Refused(Code::TimedOut, reason.into(), 0));
            }
        }
        transport.send_told().await?;
        self.tell_of_gap(transport).await?;
        Ok(transport.send_upcalls(self.hub, self.client, u64::MAX).await?)
    }

    /// Tells the client to start anew, if the kernel side has missed something since it was last told.
    pub(super) async fn tell_of_gap(&mut self, transport: &Transport) -> Result<(), End> {
        if self.gaps.has_changed().unwrap_or(false) {
            self.gaps.mark_unchanged();
            let text = "the kernel skipped BPF programs".into();
            transport.write(frame(&Message::Resync { reason: ResyncReason::SourceLost, text }, 0)).await?;
        }
        Ok(())
    }

    /// Waits for an answer that may take long, such as that of a filesystem that hangs: the client goes on being told, and
    /// its end is noticed. What it asked before it left is still done, unless that takes longer than `patience`.
    pub(super) async fn beside<T>(
        &mut self,
        transport: &mut Transport,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, End> {
        let mut answer = pin!(answer);
        loop {
            let more = self.send(transport).await?;
            let (mut next_gap, mut shutdown) = (self.gaps.clone(), self.shutdown.clone());
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = std::future::ready(()), if more => {}
                () = self.woken.notified() => {}
                _ = next_gap.changed() => {}
                read = transport.read(), if transport.may_read_ahead() => if read? == 0 {
                    return timeout(patience, answer).await.map_err(|_| End::Left);
                },
                () = ending(&mut shutdown) => return Err(End::Shutdown),
            }
        }
    }
}

/// Resolves when the daemon ends.
pub(super) async fn ending(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and so the daemon.
    let _ = shutdown.wait_for(|ending| *ending).await;
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::Arc,
    };

    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        hub::{ClientInfo, Limits, Pace, model::Model},
        server::{outlet::Outlet, stream::Stream},
    };

    /// No client needs as long.
    const LONG: Duration = Duration::from_secs(60);

    struct Bench {
        hub: Hub,
        client: ClientIndex,
        woken: Arc<Notify>,
        transport: Transport,
        peer: UnixStream,
    }

    impl Bench {
        fn new() -> Self {
            let (model, slots) = Model::new(1, false);
            let pace = Pace { tick: 4, volatile: None, grace: Duration::ZERO };
            let hub = Hub::new(Box::new(model), slots, pace, Limits { clients: 1, interests_per_client: 1 });
            let info = ClientInfo { name: "test".into(), address: "unix".into(), uid: 0, pid: 0 };
            let (client, woken) = hub.connect(info, None).expect("room");
            let (peer, there) = UnixStream::pair().expect("sockets");
            there.set_nonblocking(true).expect("a socket");
            let transport = Transport::new(Stream::new(there.into()).expect("watched"), LONG);
            Self { hub, client, woken, transport, peer }
        }
    }

    /// Waits for the answer as a session does, while something else goes on.
    async fn beside<T, U>(
        bench: &mut Bench,
        patience: Duration,
        answer: impl Future<Output = T>,
        (meanwhile, shutdown): (impl Future<Output = U>, watch::Receiver<bool>),
    ) -> Result<T, End> {
        let Bench { hub, client, woken, transport, .. } = bench;
        let (_open, mut gaps) = watch::channel(0);
        let mut feed = Feed { hub, client: *client, woken, gaps: &mut gaps, shutdown };
        tokio::join!(feed.beside(transport, patience, answer), meanwhile).0
    }

    #[tokio::test]
    async fn a_client_is_told_while_it_waits_for_an_answer() {
        let mut bench = Bench::new();
        let (outlet, woken) = (Arc::clone(&bench.transport.outlet), Arc::clone(&bench.woken));
        let mut peer = bench.peer.try_clone().expect("a socket");
        let (done, answer) = oneshot::channel();
        let (_running, shutdown) = watch::channel(false);
        let told = frame(&Message::Synced, 0);
        let length = told.len();
        let meanwhile = async move {
            tell(&outlet, &woken, &told);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length];
                peer.read_exact(&mut bytes).map(|()| bytes)
            });
            assert_eq!(read.await.expect("a thread").expect("read"), told);
            done.send(7).expect("the session waits");
        };
        let answered = beside(&mut bench, LONG, answer, (meanwhile, shutdown));
        assert_eq!(timeout(LONG, answered).await.expect("told").ok(), Some(Ok(7)));
    }

    fn tell(outlet: &Outlet, woken: &Notify, told: &bytes::BytesMut) {
        assert!(!outlet.tell(told), "its session is to send it");
        woken.notify_one();
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_its_session_although_it_is_owed_an_answer() {
        let mut bench = Bench::new();
        bench.peer.write_all(b"more").expect("written");
        bench.peer.shutdown(std::net::Shutdown::Write).expect("shut");
        let (_running, shutdown) = watch::channel(false);
        let soon = Duration::from_millis(1);
        let nothing = (std::future::ready(()), shutdown.clone());
        let end = timeout(LONG, beside(&mut bench, soon, pending::<()>(), nothing)).await;
        assert!(matches!(end, Ok(Err(End::Left))));
        assert_eq!(bench.transport.inbox, b"more"[..]);
        // What it asked before is done if it can be.
        let answer = async {
            tokio::time::sleep(soon).await;
            7
        };
        let nothing = (std::future::ready(()), shutdown);
        assert_eq!(beside(&mut bench, LONG, answer, nothing).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn the_end_of_the_daemon_does_not_wait_for_an_answer() {
        let mut bench = Bench::new();
        let (end, shutdown) = watch::channel(false);
        let meanwhile = async { end.send_replace(true) };
        let ended = beside(&mut bench, LONG, pending::<()>(), (meanwhile, shutdown));
        assert!(matches!(timeout(LONG, ended).await, Ok(Err(End::Shutdown))));
    }
}
