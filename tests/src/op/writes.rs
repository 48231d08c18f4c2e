//! Writes that are complete when the system call returns.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
};

use nix::fcntl::{SpliceFFlags, splice};
use rustix::io::{ReadWriteFlags, pwritev2};
use upcall_common::change::{DATA, SIZE};

use super::{
    Op, file, op,
    stage::{open, open_direct, other},
};
use crate::sys::aio;

pub(super) const OPS: &[Op] = &[
    op("write", &[file(DATA)], |dir| open(dir)?.write_all(b"written")),
    op("pwrite", &[file(DATA | SIZE)], |dir| {
        let file = open(dir)?;
        file.write_all_at(b"appended", file.metadata()?.len())
    }),
    op("writev", &[file(DATA)], |dir| {
        open(dir)?.write_vectored(&[IoSlice::new(b"two "), IoSlice::new(b"parts")]).map(drop)
    }),
    op("pwritev2", &[file(DATA)], |dir| vector(&open(dir)?, ReadWriteFlags::empty())),
    op("pwritev2_append", &[file(DATA | SIZE)], |dir| vector(&open(dir)?, ReadWriteFlags::APPEND)),
    op("pwritev2_dsync", &[file(DATA)], |dir| vector(&open(dir)?, ReadWriteFlags::DSYNC)),
    op("direct_write", &[file(DATA)], |dir| open_direct(dir)?.write_all_at(aio::page(b'd').bytes(), 0)),
    op("splice", &[file(DATA)], |dir| {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(b"spliced")?;
        splice(reader, None, open(dir)?, Some(&mut 0), 7, SpliceFFlags::empty())?;
        Ok(())
    }),
    op("sendfile", &[file(DATA)], |dir| {
        let from = File::open(other(dir))?;
        Ok(nix::sys::sendfile::sendfile64(open(dir)?, from, None, 100).map(drop)?)
    }),
];

fn vector(file: &File, flags: ReadWriteFlags) -> io::Result<()> {
    Ok(pwritev2(file, &[IoSlice::new(b"vector")], 100, flags).map(drop)?)
}
