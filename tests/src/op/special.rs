//! Changes that go round write(2) and its kin.

use std::{fs::File, os::unix::fs::FileExt};

use upcall_common::change::DATA;

use super::{
    Op, at, file, prepared,
    stage::{self, donor, open},
};
use crate::sys::{ioctl, loops::LoopDevice, swap::Swap};

const BLOCKS: u64 = 2;
const ALL: u64 = 8192;

pub(super) const OPS: &[Op] = &[
    prepared("loop_write", &[file(DATA)], |dir| {
        let device = LoopDevice::attach(&open(dir)?)?;
        Ok(Box::new(move || {
            let block = File::options().write(true).open(device.path())?;
            block.write_all_at(&[b'l'; 4096], 0)?;
            block.sync_all()
        }))
    }),
    prepared("move_extents", &[file(DATA), at("other", DATA)], |dir| {
        let (donor, file) = (donor(dir)?, open(dir)?);
        file.sync_all()?;
        Ok(Box::new(move || ioctl::move_extents(&file, &donor, BLOCKS)))
    })
    .unseen_by_readers(),
    prepared("exchange_range", &[file(DATA), at("other", DATA)], |dir| {
        let (donor, file) = (donor(dir)?, open(dir)?);
        donor.write_all_at(b"of the other", 0)?;
        Ok(Box::new(move || ioctl::exchange_range(&donor, &file, ALL)))
    }),
    prepared("swap", &[file(DATA)], |dir| {
        let mut swap = Swap::on(&stage::file(dir))?;
        Ok(Box::new(move || swap.page_out()))
    })
    // How swapon(2) says that a filesystem cannot hold swap files.
    .refused_with(&[libc::EINVAL])
    .unseen_by_readers(),
];
