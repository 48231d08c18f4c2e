//! Many sockets read by one thread.

use std::{
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use tests::deadline::patience;
use upcall_client::Code;
use upcall_common::wire::{Hello, Message, VERSION, decode, encode};

use crate::{bare, worker::Worker};

/// Milliseconds: longer than a change takes to settle.
const QUIET: u16 = 30;
const EVENTS: usize = 1024;

#[derive(Debug)]
pub struct Crowd {
    sockets: Vec<UnixStream>,
    epoll: Epoll,
}

impl Crowd {
    /// So many clients of the daemon, each interested in `file`.
    pub fn of_clients(socket: &Path, file: &Path, count: usize) -> Result<Self> {
        Self::of((0..count).map(|_| client(socket, file)).collect::<Result<_>>()?)
    }

    pub fn of(sockets: Vec<UnixStream>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (socket, number) in sockets.iter().zip(0..) {
            socket.set_nonblocking(true)?;
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        }
        Ok(Self { sockets, epoll })
    }

    /// The moment at which the last socket had brought something.
    pub fn all_heard(&mut self) -> Result<Instant> {
        let mut heard = vec![false; self.sockets.len()];
        let mut missing = heard.len();
        let limit = u16::try_from(patience().as_millis())?;
        while missing > 0 {
            let read = self.read(limit, |number| {
                if let Some(heard @ false) = heard.get_mut(number) {
                    *heard = true;
                    missing -= 1;
                }
            })?;
            ensure!(read > 0, "{missing} clients heard nothing");
        }
        Ok(Instant::now())
    }

    /// Reads until nothing more comes.
    pub fn settle(&mut self) -> Result<()> {
        while self.read(QUIET, |_| ())? > 0 {}
        Ok(())
    }

    /// Reads on a thread until that is dropped.
    pub fn drain(mut self) -> Worker {
        Worker::start(move || self.read(QUIET, |_| ()).is_ok())
    }

    /// Waits for as long and reads what is there; how many sockets had something.
    fn read(&mut self, milliseconds: u16, mut hear: impl FnMut(usize)) -> Result<usize> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = self.epoll.wait(&mut events, milliseconds)?;
        for event in events.iter().take(count) {
            let number = usize::try_from(event.data())?;
            let mut socket = self.sockets.get(number).context("an event of no socket")?;
            match socket.read(&mut [0; 4096]) {
                Ok(0) => bail!("the daemon has closed a connection"),
                Ok(_) => hear(number),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }
}

/// Both frames at once: there are thousands to come.
fn client(socket: &Path, file: &Path) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).context("cannot connect")?;
    stream.set_read_timeout(Some(patience()))?;
    let mut bytes = BytesMut::new();
    let hello = Hello { version_min: VERSION, version_max: VERSION, features: 0, name: "bench".into() };
    encode(&Message::Hello(hello), 1, &mut bytes)?;
    encode(&bare::register(file), 2, &mut bytes)?;
    std::io::Write::write_all(&mut stream, &bytes)?;
    bytes.clear();
    loop {
        match decode(&mut bytes)? {
            Some((2, Message::Registered(outcomes))) => {
                ensure!(outcomes.iter().all(|outcome| outcome.code == Code::Ok), "refused: {outcomes:?}");
                return Ok(stream);
            }
            Some((_, Message::Error { code, message })) => bail!("refused: {code}: {message}"),
            Some(_) => {}
            None => {
                let mut chunk = [0; 4096];
                let length = stream.read(&mut chunk)?;
                ensure!(length > 0, "the daemon has closed a connection");
                bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
        }
    }
}
