//! Stores to a shared mapping, which lasts until the operation's end.

use std::io::IoSlice;

use memmap2::MmapMut;
use nix::{
    sys::uio::{RemoteIoVec, process_vm_writev},
    unistd::Pid,
};
use upcall_common::change::DATA;

use super::{Change, Op, file, prepared, stage::open};
use crate::sys::mapping;

pub(super) const OPS: &[Op] = &[
    prepared("mapped_store", &[file(DATA)], |dir| Ok(store(mapping::shared(&open(dir)?)?))),
    prepared("mapped_store_after_msync", &[file(DATA)], |dir| {
        let mapping = mapping::stored_to(&open(dir)?)?;
        mapping.flush()?;
        Ok(store(mapping))
    }),
    prepared("mapped_store_after_writeback", &[file(DATA)], |dir| {
        let file = open(dir)?;
        let mapping = mapping::stored_to(&file)?;
        // Of an overlay's file, sync_file_range(2) would write nothing.
        file.sync_data()?;
        Ok(store(mapping))
    }),
    prepared("mapped_process_vm_writev", &[file(DATA)], |dir| {
        let mut mapping = mapping::shared(&open(dir)?)?;
        Ok(Box::new(move || {
            let remote = RemoteIoVec { base: mapping.as_mut_ptr().addr(), len: 3 };
            Ok(process_vm_writev(Pid::this(), &[IoSlice::new(b"far")], &[remote]).map(drop)?)
        }))
    }),
    prepared("mapped_store_to_dirty", &[file(DATA)], |dir| Ok(store(mapping::stored_to(&open(dir)?)?))),
];

fn store(mut mapping: MmapMut) -> Change {
    Box::new(move || {
        mapping[..6].copy_from_slice(b"stored");
        Ok(())
    })
}
