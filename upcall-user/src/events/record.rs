//! From the kernel's record to an event that a person reads.

use std::os::unix::fs::MetadataExt;

use serde::Serialize;
use upcall_common::{
    abi::{EVENT_PATH, Hook, Key, Op},
    change,
};

use crate::mounts::Table;

/// One change, as `upcall debug --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct LiveEvent {
    /// Seconds since the machine started.
    pub time: f64,
    pub hook: &'static str,
    pub op: &'static str,
    pub dev: u32,
    pub ino: u64,
    pub path: Option<String>,
    /// Of the originator; 0: unknown.
    pub pid: u32,
    /// 0: the change was completed elsewhere than in a thread of the originator.
    pub tid: u32,
    /// Null where the process is unknown or has ended.
    pub comm: Option<String>,
    pub uid: Option<u32>,
    /// Bytes, or attribute bits; 0 where the source cannot tell.
    pub amount: u64,
    pub changes: Vec<&'static str>,
    /// Interests in the inode, and how many of them are told of this.
    pub interested: usize,
    pub told: usize,
    #[serde(skip)]
    pub(super) seen_by: Hook,
    #[serde(skip)]
    subvolume: u32,
    #[serde(skip)]
    bits: u32,
}

impl LiveEvent {
    /// `None`: not a record of this version.
    pub(super) fn parse(record: &[u8], mounts: &Table) -> Option<Self> {
        let mut fields = Fields(record);
        let (time, ino, amount) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (dev, subvolume, pid, tid, uid, bits) =
            (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (op, hook) = (Op::from_raw(fields.u16()?)?, Hook::from_raw(fields.u16()?)?);
        let (uid, comm) = match (tid, fields.take(16)?) {
            (0, _) => owner(pid),
            (_, comm) => (Some(uid), Some(text(comm))),
        };
        let (used, whole, _) = (fields.u32()? as usize, fields.u32()? != 0, fields.u32()?);
        let names = fields.take(EVENT_PATH)?.get(..used)?;
        let path = if whole { mounts.locate(dev, &join(names)) } else { None };
        Some(Self {
            time: time as f64 / 1e9,
            hook: hook.name(),
            op: op.name(),
            dev,
            ino,
            path,
            pid,
            tid,
            comm,
            uid,
            amount,
            changes: change::names(bits).collect(),
            interested: 0,
            told: 0,
            seen_by: hook,
            subvolume,
            bits,
        })
    }

    pub(super) fn key(&self) -> Key {
        Key { ino: self.ino, dev: self.dev, subvolume: self.subvolume }
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn set_audience(&mut self, (interested, told): (usize, usize)) {
        (self.interested, self.told) = (interested, told);
    }
}

/// Names come leaf first, each ended by a NUL.
fn join(names: &[u8]) -> String {
    let mut pieces: Vec<_> = names.split(|byte| *byte == 0).filter(|piece| !piece.is_empty()).collect();
    pieces.reverse();
    pieces.iter().fold(String::new(), |path, piece| path + "/" + &String::from_utf8_lossy(piece))
}

/// User and name of a process that is not the one in which the event was written.
fn owner(pid: u32) -> (Option<u32>, Option<String>) {
    let dir = std::path::Path::new("/proc").join(pid.to_string());
    let comm = std::fs::read_to_string(dir.join("comm")).ok();
    let uid = std::fs::metadata(dir).ok().map(|process| process.uid());
    (uid, comm.map(|comm| comm.trim_end().to_owned()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Fields of a record, in the kernel's order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_from_the_root_down() {
        assert_eq!(join(b"file\0dir\0"), "/dir/file");
        assert_eq!(join(b""), "");
    }

    #[test]
    fn a_short_record_is_refused() {
        assert!(LiveEvent::parse(&[0; 100], &Table::default()).is_none());
    }
}
