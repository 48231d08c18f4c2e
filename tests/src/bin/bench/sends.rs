//! What fan-out is measured against: a bare loop of sends, by one thread, over as many sockets, which another reads.

use std::{
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        socket::{setsockopt, sockopt},
        time::TimeVal,
    },
};
use tests::deadline::patience;

use crate::crowd::Crowd;

/// As many as an upcall with attributes has.
const FRAME_BYTES: usize = 96;

/// Two threads and their sockets; both end when dropped.
#[derive(Debug)]
pub struct Sends {
    order: SyncSender<()>,
    took: Receiver<Result<f64>>,
}

impl Sends {
    /// Each thread has a table of descriptors of its own, since one has no room for both ends of ten thousand sockets:
    /// call it before there are many in the table of the caller, which is copied.
    pub fn over(count: usize) -> Result<Self> {
        let (order, orders) = mpsc::sync_channel(0);
        let (tell, took) = mpsc::channel();
        let (ready, made) = mpsc::channel();
        thread::spawn(move || {
            let sockets = readers(count);
            let (mut readers, sender) = match sockets {
                Ok(sockets) => sockets,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            for () in orders {
                let _ = tell.send(round(&mut readers, &sender));
            }
        });
        made.recv().context("the reader of bare sends ended")??;
        Ok(Self { order, took })
    }

    /// Microseconds from the first send until the last has been read.
    pub fn round(&self) -> Result<f64> {
        self.order.send(()).context("the reader of bare sends ended")?;
        self.took.recv().context("the reader of bare sends ended")?
    }
}

/// The thread that sends.
struct Sender {
    order: SyncSender<()>,
    /// When it began.
    began: Receiver<Result<Instant>>,
}

fn round(readers: &mut Crowd, sender: &Sender) -> Result<f64> {
    sender.order.send(()).context("the sender ended")?;
    let end = readers.all_heard()?;
    let start = sender.began.recv().context("the sender ended")??;
    Ok((end - start).as_secs_f64() * 1e6)
}

fn readers(count: usize) -> Result<(Crowd, Sender)> {
    unshare(CloneFlags::CLONE_FILES).context("cannot get a table of descriptors")?;
    // In no directory, and so gone with the process.
    let address = SocketAddr::from_abstract_name(format!("upcall-bench-{}", std::process::id()))?;
    let listener = UnixListener::bind_addr(&address)?;
    // If the sender fails there is nobody to accept.
    setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::new(patience().as_secs().try_into()?, 0))?;
    let (order, orders) = mpsc::sync_channel(0);
    let (tell, began) = mpsc::channel();
    thread::spawn(move || match writers(&address, count) {
        Ok(mut writers) => {
            for () in orders {
                let start = Instant::now();
                let sent = writers.iter_mut().try_for_each(|socket| socket.write_all(&[0; FRAME_BYTES]));
                let _ = tell.send(sent.map(|()| start).context("cannot send"));
            }
        }
        Err(error) => drop(tell.send(Err(error))),
    });
    let accepted = (0..count).map(|_| Ok(listener.accept()?.0)).collect::<Result<Vec<_>>>();
    let sockets = match accepted {
        Ok(sockets) => sockets,
        // What the sender says is the cause, if it says something.
        Err(error) => return Err(began.try_recv().ok().and_then(Result::err).unwrap_or(error)),
    };
    Ok((Crowd::of(sockets)?, Sender { order, began }))
}

fn writers(address: &SocketAddr, count: usize) -> Result<Vec<UnixStream>> {
    unshare(CloneFlags::CLONE_FILES).context("cannot get a table of descriptors")?;
    (0..count).map(|_| UnixStream::connect_addr(address).context("cannot connect")).collect()
}
