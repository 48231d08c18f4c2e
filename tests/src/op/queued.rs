//! Writes that the kernel completes by itself.

use std::{io, thread};

use upcall_common::change::DATA;

use super::{
    Op, file, op,
    stage::{open, open_direct},
};
use crate::sys::aio::{Uring, aio_write, page, uring_write};

pub(super) const OPS: &[Op] = &[
    op("io_uring_write", &[file(DATA)], |dir| {
        apart(|| uring_write(&open(dir)?, &[b'u'; 100], Uring::Inline))
    }),
    op("io_uring_direct", &[file(DATA)], |dir| {
        apart(|| uring_write(&open_direct(dir)?, page(b'i').bytes(), Uring::Inline))
    }),
    op("io_uring_worker", &[file(DATA)], |dir| {
        apart(|| uring_write(&open(dir)?, &[b'w'; 100], Uring::Worker))
    }),
    op("io_uring_sqpoll", &[file(DATA)], |dir| {
        apart(|| uring_write(&open(dir)?, &[b'q'; 100], Uring::Polled))
    }),
    op("aio_write", &[file(DATA)], |dir| aio_write(&open(dir)?, &[b'a'; 100])),
    op("aio_direct", &[file(DATA)], |dir| aio_write(&open_direct(dir)?, page(b'A').bytes())),
];

/// On a thread of its own: what one does that has ever used an io_uring, source `timestamp` cannot name.
fn apart(write: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| {
        scope.spawn(write).join().map_err(|_| io::Error::other("the writer has panicked"))?
    })
}
