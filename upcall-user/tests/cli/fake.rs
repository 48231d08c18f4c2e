//! A daemon that does what a test says, and a run of `upcall` that talks to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use upcall_common::wire::*;

/// What must happen soon does not happen at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run of `upcall` and the daemon's end of its connection.
pub(crate) struct Run {
    child: Child,
    /// One byte at a time: what follows a line is for the end to find.
    out: Option<BufReader<ChildStdout>>,
    stream: UnixStream,
    inbox: BytesMut,
    _dir: TempDir,
}

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Runs `upcall` with `--connect` and welcomes it.
    pub(crate) fn start(features: u64, args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let mut child = Command::new(env!("CARGO_BIN_EXE_upcall"))
            .arg(args[0])
            .arg(format!("--connect=unix:{}", socket.display()))
            .args(&args[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = child.stdout.take().map(|out| BufReader::with_capacity(1, out));
        wait_for(&listener, "a connection");
        let (stream, _) = listener.accept().expect("it connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut run = Self { child, out, stream, inbox: BytesMut::new(), _dir: dir };
        let (tag, hello) = run.receive();
        assert!(matches!(hello, Message::Hello(_)), "{hello:?}");
        let server = String::from("fake");
        let (max_body, max_batch) = (MAX_BODY, MAX_BATCH);
        run.send(
            &Message::Welcome(Welcome { version: VERSION, max_body, max_batch, features, epoch: 1, server }),
            tag,
        );
        run
    }

    /// As [`start`](Self::start), with a daemon that holds state and grants STATE_BEGIN.
    pub(crate) fn begin(args: &[&str]) -> Self {
        let mut run = Self::start(FEATURE_STATE, args);
        let begun = StateBegun {
            code: Code::Ok,
            means: Means::default(),
            recall_ms: 60_000,
            grace_ms: 15_000,
            reclaim_ms: 0,
            text: String::new(),
        };
        let request = run.answer(StateAnswer::StateBegun(begun));
        assert!(matches!(request, StateRequest::StateBegin(_)), "{request:?}");
        run
    }

    fn receive(&mut self) -> (u32, Message) {
        loop {
            if let Some(frame) = decode(&mut self.inbox).expect("it keeps to the protocol") {
                return frame;
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).expect("it says something");
            assert_ne!(read, 0, "it has closed the connection");
            self.inbox.extend_from_slice(&bytes[..read]);
        }
    }

    fn send(&mut self, message: &Message, tag: u32) {
        let mut frame = BytesMut::new();
        encode(message, tag, &mut frame).expect("it fits a frame");
        self.stream.write_all(&frame).expect("it is connected");
    }

    /// Answers the next request, which must be about state.
    pub(crate) fn answer(&mut self, answer: StateAnswer) -> StateRequest {
        match self.receive() {
            (tag, Message::StateRequest(request)) => {
                self.send(&Message::StateAnswer(answer), tag);
                request
            }
            other => panic!("not about state: {other:?}"),
        }
    }

    pub(crate) fn open(&mut self) -> Open {
        let (flags, text) = (GrantFlags { advisory: true }, String::new());
        let opened = Opened { code: Code::Ok, flags, open: 7, file: 5, request: 0, text };
        match self.answer(StateAnswer::Opened(opened)) {
            StateRequest::Open(open) => open,
            other => panic!("not OPEN: {other:?}"),
        }
    }

    pub(crate) fn done(&mut self) -> StateRequest {
        self.answer(StateAnswer::Done(Done { code: Code::Ok, text: String::new() }))
    }

    pub(crate) fn upcall(&mut self, upcall: StateUpcall) {
        self.send(&Message::StateUpcall(upcall), 0);
    }

    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it listens");
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let out = self.out.as_mut().expect("piped");
        wait_for(out.get_ref(), "a line");
        let mut line = String::new();
        out.read_line(&mut line).expect("it prints");
        line.trim_end().to_owned()
    }

    pub(crate) fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    }

    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let (out, err) = (rest(self.out.take()), rest(self.child.stderr.take()));
        let text = |rest: Receiver<String>| rest.recv_timeout(PATIENCE).expect("it ends");
        let (out, err) = (text(out), text(err));
        // It has closed its outputs, which it does by ending.
        let status = self.child.wait().expect("it ended");
        Ended { code: status.code(), out, err }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // After a failure it would go on, and try to connect again. Else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(readable: impl AsFd, what: &str) {
    let mut fds = [PollFd::new(readable.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).expect("some seconds");
    assert_eq!(poll(&mut fds, patience), Ok(1), "waited in vain for {what}");
}

/// What is still to come of an output, once it is closed.
fn rest(output: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send, rest) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        output.expect("piped").read_to_string(&mut text).expect("text");
        send.send(text)
    });
    rest
}
