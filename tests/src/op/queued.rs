//! Writes that the kernel completes by itself.

use upcall_common::change::DATA;

use super::{
    Op, file, op,
    stage::{open, open_direct},
};
use crate::sys::aio::{Uring, aio_write, page, uring_write};

pub(super) const OPS: &[Op] = &[
    op("io_uring_write", &[file(DATA)], |dir| uring_write(&open(dir)?, &[b'u'; 100], Uring::Inline)),
    op("io_uring_direct", &[file(DATA)], |dir| {
        uring_write(&open_direct(dir)?, page(b'i').bytes(), Uring::Inline)
    }),
    op("io_uring_worker", &[file(DATA)], |dir| uring_write(&open(dir)?, &[b'w'; 100], Uring::Worker)),
    op("io_uring_sqpoll", &[file(DATA)], |dir| uring_write(&open(dir)?, &[b'q'; 100], Uring::Polled)),
    op("aio_write", &[file(DATA)], |dir| aio_write(&open(dir)?, &[b'a'; 100])),
    op("aio_direct", &[file(DATA)], |dir| aio_write(&open_direct(dir)?, page(b'A').bytes())),
];
