//! Breaks of leases, by whomever.

use std::io;

use aya::{
    maps::{Array, MapData, RingBuf},
    programs::{BtfTracePoint, links::FdLink},
};
use tokio::io::unix::AsyncFd;
use upcall_common::abi::{Broken, maps};

use super::{Programs, Unsupported, refused};
use crate::{
    source::{attach::attach_tracepoint, load::program},
    sys::readiness,
};

const TRACEPOINTS: [&str; 2] = ["break_lease_block", "break_lease_noblock"];

/// Read in one go.
const TURN: usize = 1024;

/// Every break of a lease on this host. It is written down under the lock by which the lease is looked at, so a look
/// after it was read sees it.
pub struct Breaks {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: Array<MapData, u64>,
    lost_so_far: u64,
    #[expect(dead_code, reason = "kept for what dropping them does")]
    links: Vec<FdLink>,
}

/// What has been read.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) broken: Vec<Broken>,
    /// There was no room for so many more.
    pub(crate) lost: u64,
}

impl Breaks {
    pub(super) fn load(programs: &mut Programs) -> Result<Self, Unsupported> {
        let ring = programs.take(maps::BREAKS)?.try_into().map_err(Unsupported::because)?;
        let ring = readiness::readable(ring).map_err(Unsupported::because)?;
        let lost = programs.take(maps::BREAKS_LOST)?.try_into().map_err(Unsupported::because)?;
        let Programs { ebpf, btf } = programs;
        let links = TRACEPOINTS.map(|name| {
            let tracepoint: &mut BtfTracePoint = program(ebpf, name).map_err(Unsupported::because)?;
            attach_tracepoint(tracepoint, name, btf).map_err(refused(name))
        });
        let links = links.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { ring, lost, lost_so_far: 0, links })
    }

    /// Waits for some. Those that are read are returned at once, so nothing is lost if the wait is given up.
    pub(crate) async fn read(&mut self) -> io::Result<Told> {
        let mut ready = self.ring.readable_mut().await?;
        let mut broken = Vec::new();
        while broken.len() < TURN {
            let Some(item) = ready.get_inner_mut().next() else {
                ready.clear_ready();
                break;
            };
            match parse(&item) {
                Some(record) => broken.push(record),
                None => {
                    tracing::error!(bytes = item.len(), "a record of the ring of breaks has the wrong size")
                }
            }
        }
        // After the ring: what it had no room for came before what has been read of it.
        let lost = self.lost.get(&0, 0).map_err(io::Error::other)?;
        let before = std::mem::replace(&mut self.lost_so_far, lost);
        Ok(Told { broken, lost: lost.wrapping_sub(before) })
    }
}

fn parse(record: &[u8]) -> Option<Broken> {
    let (words, rest) = record.as_chunks::<8>();
    let words = <[[u8; 8]; Broken::WORDS]>::try_from(words).ok()?;
    rest.is_empty().then(|| Broken::from_words(words.map(u64::from_ne_bytes)))
}

#[cfg(test)]
mod tests {
    use upcall_common::abi::Key;

    use super::*;

    #[test]
    fn a_record_is_parsed_whole_or_not_at_all() {
        let inode = Key { ino: 7, dev: 8, subvolume: 9 };
        let [ino, dev] = inode.words();
        let record: Vec<u8> = [ino, dev, 10].into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(parse(&record), Some(Broken { inode, by: 10, pad: 0 }));
        assert_eq!(parse(&record[..23]), None);
        assert_eq!(parse(&[&record[..], &[0]].concat()), None);
    }
}
