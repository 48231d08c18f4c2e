//! Contents that come from another file, and space that is given and taken.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use nix::{
    fcntl::{FallocateFlags, copy_file_range, fallocate},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::truncate,
};
use upcall_common::change::{DATA, SIZE, TIMES};

use super::{
    Op, file, op, prepared,
    stage::{self, donor, open, other},
};
use crate::sys::ioctl;

/// Two blocks of every filesystem that is tested on.
const ALL: u64 = 8192;
const BLOCK: i64 = 4096;

pub(super) const OPS: &[Op] = &[
    op("copy_file_range", &[file(DATA | SIZE)], |dir| append(&File::open(other(dir))?, &open(dir)?)),
    op("copy_file_range_across", &[file(DATA | SIZE)], |dir| {
        let mut from = File::from(memfd_create(c"from", MFdFlags::empty())?);
        from.write_all(&[b'm'; 4096])?;
        append(&from, &open(dir)?)
    })
    .refused_with(&[libc::EXDEV]),
    prepared("reflink", &[file(DATA | SIZE)], |dir| {
        // Of another length than what it replaces, so that the change shows.
        let (donor, file) = (donor(dir)?, open(dir)?);
        file.set_len(0)?;
        Ok(Box::new(move || Ok(rustix::fs::ioctl_ficlone(&file, &donor)?)))
    }),
    prepared("reflink_range", &[file(DATA | SIZE)], |dir| {
        let (donor, file) = (donor(dir)?, open(dir)?);
        Ok(Box::new(move || ioctl::reflink_range(&donor, &file, ALL, ALL)))
    }),
    prepared("dedupe", &[file(DATA)], |dir| {
        let (donor, file) = (donor(dir)?, open(dir)?);
        file.sync_all()?;
        Ok(Box::new(move || ioctl::dedupe(&donor, &file, ALL)))
    })
    // How ioctl_fideduperange(2) says that a filesystem has no such thing.
    .refused_with(&[libc::EINVAL])
    .unseen_by_readers(),
    op("fallocate", &[file(SIZE)], |dir| space(dir, FallocateFlags::empty(), 0, 40_000)),
    op("fallocate_keep_size", &[file(TIMES)], |dir| {
        space(dir, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 40_000)
    }),
    op("punch_hole", &[file(DATA)], |dir| {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        space(dir, flags, 0, BLOCK)
    }),
    op("zero_range", &[file(DATA)], |dir| space(dir, FallocateFlags::FALLOC_FL_ZERO_RANGE, 0, BLOCK)),
    op("collapse_range", &[file(DATA | SIZE)], |dir| {
        space(dir, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK)
    }),
    op("insert_range", &[file(DATA | SIZE)], |dir| {
        space(dir, FallocateFlags::FALLOC_FL_INSERT_RANGE, 0, BLOCK)
    }),
    op("truncate", &[file(DATA | SIZE)], |dir| Ok(truncate(&stage::file(dir), 100)?)),
    op("ftruncate", &[file(DATA | SIZE)], |dir| open(dir)?.set_len(20_000)),
    op("open_truncate", &[file(DATA | SIZE)], |dir| File::create(stage::file(dir)).map(drop)),
];

/// Appends the first block of one file to the other.
fn append(from: &File, to: &File) -> io::Result<()> {
    let mut at = i64::try_from(to.metadata()?.len()).map_err(io::Error::other)?;
    copy_file_range(from, Some(&mut 0), to, Some(&mut at), 4096)?;
    Ok(())
}

fn space(dir: &Path, flags: FallocateFlags, from: i64, length: i64) -> io::Result<()> {
    Ok(fallocate(open(dir)?, flags, from, length)?)
}
