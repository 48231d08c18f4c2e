//! Writes that the kernel completes by itself: io_uring and Linux AIO.

use std::{fs::File, io, mem, os::fd::AsRawFd};

use io_uring::{IoUring, opcode, squeue, types};

use super::checked;

/// A block aligned as direct I/O wants it.
#[repr(C, align(4096))]
pub(crate) struct Page([u8; 4096]);

impl Page {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

pub(crate) fn page(byte: u8) -> Box<Page> {
    Box::new(Page([byte; 4096]))
}

/// Who does a write that is submitted to an io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uring {
    /// Whoever submits it.
    Inline,
    /// One of the ring's own threads.
    Worker,
    /// A thread of the kernel that looks for requests.
    Polled,
}

/// Writes to the start of the file and waits for the completion.
pub(crate) fn uring_write(file: &File, bytes: &[u8], by: Uring) -> io::Result<()> {
    let mut ring = match by {
        Uring::Polled => IoUring::builder().setup_sqpoll(100).build(2)?,
        Uring::Inline | Uring::Worker => IoUring::new(2)?,
    };
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let flags = if by == Uring::Worker { squeue::Flags::ASYNC } else { squeue::Flags::empty() };
    let write = opcode::Write::new(types::Fd(file.as_raw_fd()), bytes.as_ptr(), length).build().flags(flags);
    // SAFETY: file and bytes live until the completion has been waited for, below.
    unsafe { ring.submission().push(&write) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let written = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?.result();
    all_written(written.into(), bytes)
}

/// Writes to the start of the file by `io_submit(2)` and waits for the completion.
pub(crate) fn aio_write(file: &File, bytes: &[u8]) -> io::Result<()> {
    /// `struct iocb`
    #[repr(C)]
    #[derive(Default)]
    struct Request {
        data: u64,
        key: u32,
        rw_flags: u32,
        opcode: u16,
        priority: i16,
        fd: u32,
        buffer: u64,
        length: u64,
        offset: i64,
        reserved: u64,
        flags: u32,
        event_fd: u32,
    }
    const PWRITE: u16 = 1;
    /// `struct io_event`: data, object, result, second result.
    type Event = [i64; 4];
    const _: () = assert!(mem::size_of::<Request>() == 64);

    let mut context = 0_u64;
    // SAFETY: the context is a zero for the kernel to fill in.
    checked(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let mut request = Request {
        opcode: PWRITE,
        fd,
        buffer: bytes.as_ptr() as u64,
        length: bytes.len() as u64,
        ..Request::default()
    };
    let mut requests = [&raw mut request];
    let mut event: Event = [0; 4];
    // SAFETY: one request that describes a live slice, which is only read; it is complete when the one event,
    // for which there is room, has come, and destroying the context waits for it otherwise.
    let done = unsafe {
        checked(libc::syscall(libc::SYS_io_submit, context, 1, requests.as_mut_ptr())).and_then(|()| {
            let nobody = std::ptr::null_mut::<libc::timespec>();
            checked(libc::syscall(libc::SYS_io_getevents, context, 1, 1, &raw mut event, nobody))
        })
    };
    // SAFETY: the context is the one made above.
    checked(unsafe { libc::syscall(libc::SYS_io_destroy, context) })?;
    done?;
    all_written(event[2], bytes)
}

fn all_written(result: i64, bytes: &[u8]) -> io::Result<()> {
    match i32::try_from(-result) {
        Ok(errno) if errno > 0 => Err(io::Error::from_raw_os_error(errno)),
        _ if usize::try_from(result).is_ok_and(|written| written == bytes.len()) => Ok(()),
        _ => Err(io::Error::other(format!("{result} bytes written"))),
    }
}
