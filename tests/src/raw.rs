//! A client that may say anything: frames by hand over a socket.

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
};

use anyhow::{Result, bail, ensure};
use bytes::BytesMut;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use upcall_client::{Address, Code};
use upcall_common::{
    change,
    wire::{Hello, Message, RegisterItem, Registered, Target, VERSION, decode, encode},
};

use crate::deadline::patience;

trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

pub struct Raw {
    socket: Box<dyn Socket>,
    inbox: BytesMut,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

impl Raw {
    pub fn connect(address: &Address) -> Result<Self> {
        let limit = Some(patience());
        let socket: Box<dyn Socket> = match address {
            Address::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
            Address::Tcp { host, port } => {
                let socket = TcpStream::connect((host.as_str(), *port))?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
        };
        Ok(Self { socket, inbox: BytesMut::new() })
    }

    /// Connects over Unix with a HELLO that brings a descriptor, of which it does not speak.
    pub fn passing(socket: &Path, file: &File) -> Result<Self> {
        let socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(patience()))?;
        let mut hello = BytesMut::new();
        encode(&hello_of("passing", VERSION), 1, &mut hello)?;
        let (bytes, passed) = ([IoSlice::new(&hello)], [file.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&passed)];
        let sent = sendmsg::<UnixAddr>(socket.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None)?;
        ensure!(sent == hello.len(), "{sent} bytes of HELLO sent");
        let mut raw = Self { socket: Box::new(socket), inbox: BytesMut::new() };
        match raw.receive()? {
            Some((_, Message::Welcome(_))) => Ok(raw),
            other => bail!("HELLO was answered by {other:?}"),
        }
    }

    /// Connects and is welcomed.
    pub fn welcomed(address: &Address, name: &str) -> Result<Self> {
        let mut raw = Self::connect(address)?;
        match raw.hello(name, VERSION)? {
            Message::Welcome(_) => Ok(raw),
            other => bail!("HELLO was answered by {other:?}"),
        }
    }

    /// The answer to a HELLO with this version alone.
    pub fn hello(&mut self, name: &str, version: u16) -> Result<Message> {
        self.ask(&hello_of(name, version))
    }

    /// Sends a frame and returns its answer; what comes in between is dropped.
    pub fn ask(&mut self, message: &Message) -> Result<Message> {
        const TAG: u32 = 77;
        self.send(message, TAG)?;
        loop {
            match self.receive()? {
                Some((TAG, answer)) => return Ok(answer),
                Some((0, answer @ Message::Error { .. })) => return Ok(answer),
                Some(_) => {}
                None => bail!("the daemon closed the connection instead of an answer"),
            }
        }
    }

    /// The outcomes of a REGISTER of all changes, with cookies from 0.
    pub fn register(&mut self, targets: Vec<Target>) -> Result<Vec<Registered>> {
        self.register_known(targets.into_iter().map(|target| (target, 0)).collect())
    }

    /// The same with the versions that the client holds.
    pub fn register_known(&mut self, targets: Vec<(Target, u64)>) -> Result<Vec<Registered>> {
        let items = targets.into_iter().zip(0..).map(|((target, known_version), cookie)| RegisterItem {
            cookie,
            mask: change::ANY,
            include_own: false,
            names: false,
            lifetime_ms: 0,
            known_version,
            target,
        });
        match self.ask(&Message::Register(items.collect()))? {
            Message::Registered(outcomes) => Ok(outcomes),
            other => bail!("REGISTER was answered by {other:?}"),
        }
    }

    pub fn send(&mut self, message: &Message, tag: u32) -> Result<()> {
        let mut bytes = BytesMut::new();
        encode(message, tag, &mut bytes)?;
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self.socket.write_all(bytes) {
            // The daemon may have read enough already; what it said of it can still be read.
            Err(error) if is_closed(&error) => Ok(()),
            written => Ok(written?),
        }
    }

    /// The next frame; `None` at the end of the connection.
    pub fn receive(&mut self) -> Result<Option<(u32, Message)>> {
        loop {
            if let Some(frame) = decode(&mut self.inbox)? {
                return Ok(Some(frame));
            }
            let mut bytes = [0; 65536];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => self.inbox.extend_from_slice(bytes.get(..length).unwrap_or_default()),
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// That the connection ends with this error.
    pub fn ends_with(&mut self, codes: &[Code]) -> Result<()> {
        let mut last = None;
        while let Some((_, message)) = self.receive()? {
            last = Some(message);
        }
        match last {
            Some(Message::Error { code, message }) => {
                ensure!(codes.contains(&code), "the error was {code}: {message}");
                ensure!(!message.is_empty(), "error {code} came without a message");
                Ok(())
            }
            other => bail!("the last frame was {other:?}, not an error"),
        }
    }
}

fn hello_of(name: &str, version: u16) -> Message {
    let name = name.to_owned();
    Message::Hello(Hello { version_min: version, version_max: version, features: 0, name })
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
