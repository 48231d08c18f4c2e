//! Frames that wait to be written.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use upcall_common::wire::{EncodeError, Message, encode};

use super::stream::Stream;

/// Above this many waiting frames nothing is read that could call for another.
const ROOM: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    bytes: BytesMut,
    /// To go with the first byte.
    files: Vec<Arc<OwnedFd>>,
}

impl Outbox {
    pub(super) fn push(
        &mut self,
        message: &Message,
        tag: u32,
        files: Vec<Arc<OwnedFd>>,
    ) -> Result<(), EncodeError> {
        let mut bytes = BytesMut::new();
        encode(message, tag, &mut bytes)?;
        self.frames.push_back(Frame { bytes, files });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < ROOM
    }

    /// Writes what the socket takes without waiting. Towards a peer that has closed everything is dropped.
    pub(super) fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            match stream.try_write(&frame.bytes, &frame.files) {
                Ok(written) => {
                    frame.files.clear();
                    frame.bytes.advance(written.min(frame.bytes.len()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    // The peer has closed, and may have said why before: reading will tell.
                    self.frames.clear();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if self.frames.front().is_some_and(|frame| frame.bytes.is_empty()) {
                self.frames.pop_front();
            }
        }
        Ok(())
    }
}
