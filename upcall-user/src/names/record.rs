//! What the kernel reports, from bytes. Pure, and careful: every length is checked before it is used.

use bytes::Buf;
use nix::sys::fanotify::MaskFlags;
use upcall_common::wire::{EntryKind, EntryName, MAX_HANDLE};

use crate::{
    hub::{Directory, Named},
    sys::handle::{FileHandle, HandleBytes},
};

/// Bytes of `struct fanotify_event_metadata`.
pub(super) const METADATA: usize = 24;
/// `FANOTIFY_METADATA_VERSION`
const VERSION: u8 = 3;

/// Types of `struct fanotify_event_info_header`.
const FID: u8 = 1;
const DFID_NAME: u8 = 2;
const OLD_DFID_NAME: u8 = 10;
const NEW_DFID_NAME: u8 = 12;

/// What a buffer of events says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reports {
    pub(super) named: Vec<Named>,
    /// There was more than the kernel could keep.
    pub(super) overflow: bool,
    pub(super) events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel reports names in a form that is not understood")]
pub(super) struct NotUnderstood;

impl From<bytes::TryGetError> for NotUnderstood {
    fn from(_: bytes::TryGetError) -> Self {
        Self
    }
}

/// A name in a directory.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    directory: FileHandle,
    name: Vec<u8>,
}

/// The events that one `read` from the group of a filesystem has brought.
pub(super) fn parse(mut bytes: &[u8], filesystem: u64) -> Result<Reports, NotUnderstood> {
    let mut reports = Reports::default();
    while !bytes.is_empty() {
        let length = usize::try_from({ bytes }.try_get_u32_ne()?).map_err(|_| NotUnderstood)?;
        let (event, rest) = bytes.split_at_checked(length.max(METADATA)).ok_or(NotUnderstood)?;
        bytes = rest;
        parse_event(event, filesystem, &mut reports)?;
        reports.events += 1;
    }
    Ok(reports)
}

fn parse_event(mut event: &[u8], filesystem: u64, reports: &mut Reports) -> Result<(), NotUnderstood> {
    event.try_get_u32_ne()?;
    let version = event.try_get_u8()?;
    event.try_get_u8()?;
    let metadata = usize::from(event.try_get_u16_ne()?);
    let mask = MaskFlags::from_bits_retain(event.try_get_u64_ne()?);
    event.try_get_i32_ne()?;
    let tgid = u32::try_from(event.try_get_i32_ne()?).unwrap_or(0);
    // A newer kernel's metadata may be longer.
    let skipped = metadata.checked_sub(METADATA).filter(|skipped| *skipped <= event.len());
    event.advance(skipped.filter(|_| version == VERSION).ok_or(NotUnderstood)?);
    if mask.contains(MaskFlags::FAN_Q_OVERFLOW) {
        reports.overflow = true;
        return Ok(());
    }
    let (mut place, mut from, mut to, mut child) = (None, None, None, None);
    while !event.is_empty() {
        let kind = event.try_get_u8()?;
        event.try_get_u8()?;
        let length = usize::from(event.try_get_u16_ne()?).checked_sub(4).ok_or(NotUnderstood)?;
        let (mut info, rest) = event.split_at_checked(length).ok_or(NotUnderstood)?;
        event = rest;
        match kind {
            FID => child = Some(handle(&mut info)?),
            DFID_NAME => place = Some(named(&mut info)?),
            OLD_DFID_NAME => from = Some(named(&mut info)?),
            NEW_DFID_NAME => to = Some(named(&mut info)?),
            _ => {}
        }
    }
    let child = child.unwrap_or(FileHandle { handle_type: 0, bytes: HandleBytes::new() });
    let is_directory = mask.contains(MaskFlags::FAN_ONDIR);
    let mut report = |kind, Place { directory, name }: Place, new_name| {
        let (handle_type, handle) = (child.handle_type, child.bytes.to_vec());
        let directory = Directory { filesystem, handle: directory };
        let entry = EntryName { kind, directory: is_directory, handle_type, handle, name, new_name };
        reports.named.push(Named { directory, entry, tgid });
    };
    match (from, to) {
        (Some(from), Some(to)) if from.directory == to.directory => {
            report(EntryKind::Renamed, from, Some(to.name));
        }
        (from, to) => {
            from.into_iter().for_each(|from| report(EntryKind::MovedOut, from, None));
            to.into_iter().for_each(|to| report(EntryKind::MovedIn, to, None));
        }
    }
    if let Some(place) = place {
        // The kernel has merged equal events that nobody had read yet.
        let kind = match (mask.contains(MaskFlags::FAN_CREATE), mask.contains(MaskFlags::FAN_DELETE)) {
            (true, false) => EntryKind::Created,
            (false, true) => EntryKind::Removed,
            _ => EntryKind::Changed,
        };
        report(kind, place, None);
    }
    Ok(())
}

/// `__kernel_fsid_t` and `struct file_handle`.
fn handle(info: &mut &[u8]) -> Result<FileHandle, NotUnderstood> {
    info.try_get_u64_ne()?;
    let length = usize::try_from(info.try_get_u32_ne()?).map_err(|_| NotUnderstood)?;
    let handle_type = info.try_get_i32_ne()?;
    let (bytes, rest) =
        info.split_at_checked(length).filter(|_| length <= MAX_HANDLE).ok_or(NotUnderstood)?;
    *info = rest;
    // Without bytes it says only that there is no handle.
    let handle_type = if bytes.is_empty() { 0 } else { handle_type };
    Ok(FileHandle { handle_type, bytes: HandleBytes::from_slice(bytes) })
}

/// A directory and a NUL-terminated name.
fn named(info: &mut &[u8]) -> Result<Place, NotUnderstood> {
    let directory = handle(info)?;
    let length = info.iter().position(|byte| *byte == 0).ok_or(NotUnderstood)?;
    Ok(Place { directory, name: info.get(..length).unwrap_or_default().to_vec() })
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    const CREATE: u64 = 0x100;
    const DELETE: u64 = 0x200;
    const RENAME: u64 = 0x1000_0000;
    const ONDIR: u64 = 0x4000_0000;

    fn info(kind: u8, inode: u8, name: Option<&str>) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [0xaaaa_u32, 0xbbbb, 4, 1] {
            body.extend(word.to_ne_bytes());
        }
        body.extend([inode; 4]);
        if let Some(name) = name {
            body.extend(name.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u16::try_from(body.len() + 4).expect("short").to_ne_bytes();
        [&[kind, 0][..], &length, &body].concat()
    }

    fn event(mask: u64, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let length = u32::try_from(METADATA + infos.len()).expect("short");
        let mut event = length.to_ne_bytes().to_vec();
        event.extend([VERSION, 0]);
        event.extend((METADATA as u16).to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend((-1_i32).to_ne_bytes());
        event.extend(77_i32.to_ne_bytes());
        event.extend(infos);
        event
    }

    fn of(directory: u8, kind: EntryKind, name: &str, new_name: Option<&str>) -> Named {
        let handle = FileHandle { handle_type: 1, bytes: smallvec![directory; 4] };
        let entry = EntryName {
            kind,
            directory: false,
            handle_type: 1,
            handle: vec![9; 4],
            name: name.into(),
            new_name: new_name.map(Into::into),
        };
        Named { directory: Directory { filesystem: 7, handle }, entry, tgid: 77 }
    }

    fn named_by(bytes: &[u8]) -> Vec<Named> {
        parse(bytes, 7).expect("understood").named
    }

    #[test]
    fn each_event_names_what_happened_in_each_directory() {
        let entry = |mask| event(mask, &[info(DFID_NAME, 5, Some("a")), info(FID, 9, None)]);
        assert_eq!(named_by(&entry(CREATE)), [of(5, EntryKind::Created, "a", None)]);
        assert_eq!(named_by(&entry(DELETE)), [of(5, EntryKind::Removed, "a", None)]);
        assert_eq!(named_by(&entry(CREATE | DELETE)), [of(5, EntryKind::Changed, "a", None)]);
        assert!(named_by(&entry(CREATE | ONDIR))[0].entry.directory);
        let old = |inode| info(OLD_DFID_NAME, inode, Some("old"));
        let new = |inode| info(NEW_DFID_NAME, inode, Some("longer"));
        let rename = |infos: &[Vec<u8>]| event(RENAME, &[infos, &[info(FID, 9, None)]].concat());
        assert_eq!(named_by(&rename(&[old(5), new(5)])), [of(5, EntryKind::Renamed, "old", Some("longer"))]);
        let (out, into) =
            (of(5, EntryKind::MovedOut, "old", None), of(6, EntryKind::MovedIn, "longer", None));
        let both = [out, into];
        assert_eq!(named_by(&rename(&[old(5)])), both[..1]);
        assert_eq!(named_by(&rename(&[new(6)])), both[1..]);
        assert_eq!(named_by(&rename(&[old(5), new(6)])), both);
    }

    #[test]
    fn events_follow_each_other_and_an_overflow_is_seen() {
        let created = event(CREATE, &[info(DFID_NAME, 5, Some("a")), info(FID, 9, None)]);
        let reports = parse(&[created.clone(), event(0x4000, &[]), created].concat(), 7).expect("understood");
        assert_eq!((reports.named.len(), reports.overflow, reports.events), (2, true, 3));
    }

    #[test]
    fn a_child_without_a_handle_is_not_identified() {
        let mut nobody = info(FID, 9, None);
        nobody.truncate(20);
        nobody[2] = 20;
        nobody[12..16].copy_from_slice(&0_u32.to_ne_bytes());
        let named = named_by(&event(CREATE, &[info(DFID_NAME, 5, Some("a")), nobody]));
        assert_eq!((named[0].entry.handle_type, &*named[0].entry.handle), (0, &[][..]));
    }

    #[test]
    fn cut_or_damaged_events_are_not_understood() {
        let whole = event(CREATE, &[info(DFID_NAME, 5, Some("a")), info(FID, 9, None)]);
        for length in 1..whole.len() {
            assert_eq!(parse(&whole[..length], 7), Err(NotUnderstood), "{length} bytes");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                // Whatever it says, it harms nobody.
                let _ = parse(&damaged, 7);
            }
        }
        let unterminated = [info(DFID_NAME, 5, None), vec![]].concat();
        assert_eq!(parse(&event(CREATE, &[unterminated]), 7), Err(NotUnderstood));
    }
}
