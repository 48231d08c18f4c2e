//! What only ioctl(2) does to a file.

use std::{fs::File, io, os::fd::AsRawFd};

use super::checked;

/// `FS_XFLAG_NODUMP`
pub(crate) const NO_DUMP: u32 = 0x80;

/// `struct fsxattr`
#[repr(C)]
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) flags: u32,
    extent_size: u32,
    extents: u32,
    pub(crate) project: u32,
    copy_extent_size: u32,
    pad: [u8; 8],
}

/// Makes a range of one file share the other's blocks.
pub(crate) fn reflink_range(from: &File, to: &File, length: u64, at: u64) -> io::Result<()> {
    /// `struct file_clone_range`
    #[repr(C)]
    struct Range {
        from: i64,
        from_offset: u64,
        length: u64,
        at: u64,
    }
    const FICLONERANGE: u64 = write(0x94, 13, size_of::<Range>());
    let mut range = Range { from: from.as_raw_fd().into(), from_offset: 0, length, at };
    // SAFETY: the structure is FICLONERANGE's.
    unsafe { ioctl(to, FICLONERANGE, &mut range) }
}

/// Makes two files that begin alike share the blocks of what is alike.
pub(crate) fn dedupe(from: &File, to: &File, length: u64) -> io::Result<()> {
    /// `struct file_dedupe_range` with one `struct file_dedupe_range_info`
    #[repr(C)]
    struct Range {
        from_offset: u64,
        length: u64,
        count: u16,
        reserved: [u16; 3],
        to: i64,
        to_offset: u64,
        done: u64,
        status: i32,
        pad: u32,
    }
    /// The number speaks of the part before `to`.
    const FIDEDUPERANGE: u64 = read_write(0x94, 54, 24);
    let to_fd = to.as_raw_fd().into();
    let mut range = Range {
        from_offset: 0,
        length,
        count: 1,
        reserved: [0; 3],
        to: to_fd,
        to_offset: 0,
        done: 0,
        status: 0,
        pad: 0,
    };
    // SAFETY: the structure is FIDEDUPERANGE's, with as many parts as it says.
    unsafe { ioctl(from, FIDEDUPERANGE, &mut range) }?;
    match range.status {
        0 => Ok(()),
        1 => Err(io::Error::other("the files differ")),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// Changes the attributes that FS_IOC_FSGETXATTR reads and FS_IOC_FSSETXATTR writes.
pub(crate) fn set_attributes(file: &File, change: impl FnOnce(&mut Attributes)) -> io::Result<()> {
    const FSGETXATTR: u64 = read(b'X', 31, size_of::<Attributes>());
    const FSSETXATTR: u64 = write(b'X', 32, size_of::<Attributes>());
    let mut attributes = Attributes::default();
    // SAFETY: the structure is that of both.
    unsafe {
        ioctl(file, FSGETXATTR, &mut attributes)?;
        change(&mut attributes);
        ioctl(file, FSSETXATTR, &mut attributes)
    }
}

/// Exchanges the first blocks of two files on ext4, and keeps the contents of the one.
pub(crate) fn move_extents(file: &File, donor: &File, blocks: u64) -> io::Result<()> {
    /// `struct move_extent`
    #[repr(C)]
    #[derive(Default)]
    struct Extent {
        reserved: u32,
        donor: u32,
        from: u64,
        donor_from: u64,
        length: u64,
        moved: u64,
    }
    const MOVE_EXT: u64 = read_write(b'f', 15, size_of::<Extent>());
    let donor = donor.as_raw_fd().cast_unsigned();
    let mut extent = Extent { donor, length: blocks, ..Extent::default() };
    // SAFETY: the structure is EXT4_IOC_MOVE_EXT's.
    unsafe { ioctl(file, MOVE_EXT, &mut extent) }
}

/// Exchanges the contents of two files on XFS.
pub(crate) fn exchange_range(one: &File, two: &File, length: u64) -> io::Result<()> {
    /// `struct xfs_exchange_range`
    #[repr(C)]
    #[derive(Default)]
    struct Range {
        one: i32,
        pad: u32,
        one_offset: u64,
        two_offset: u64,
        length: u64,
        flags: u64,
    }
    const EXCHANGE_RANGE: u64 = write(b'X', 129, size_of::<Range>());
    let mut range = Range { one: one.as_raw_fd(), length, ..Range::default() };
    // SAFETY: the structure is XFS_IOC_EXCHANGE_RANGE's.
    unsafe { ioctl(two, EXCHANGE_RANGE, &mut range) }
}

/// Makes a file read-only for good, with a tree of hashes that its contents are checked against.
pub(crate) fn enable_verity(file: &File) -> io::Result<()> {
    /// `struct fsverity_enable_arg`
    #[repr(C)]
    #[derive(Default)]
    struct Enable {
        version: u32,
        hash: u32,
        block_size: u32,
        salt_size: u32,
        salt: u64,
        signature_size: u32,
        reserved: u32,
        signature: u64,
        more: [u64; 11],
    }
    const ENABLE_VERITY: u64 = write(b'f', 133, size_of::<Enable>());
    const SHA256: u32 = 1;
    let mut enable = Enable { version: 1, hash: SHA256, block_size: 4096, ..Enable::default() };
    // SAFETY: the structure is FS_IOC_ENABLE_VERITY's, without salt and signature.
    unsafe { ioctl(file, ENABLE_VERITY, &mut enable) }
}

/// # Safety
///
/// The request must take a pointer to just this structure, and what the structure points to must be as it says.
pub(super) unsafe fn ioctl<T>(file: &File, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: the caller's promise; the structure outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, &raw mut *argument) };
    checked(result.into())
}

const fn write(kind: u8, number: u8, size: usize) -> u64 {
    request(1, kind, number, size)
}

const fn read(kind: u8, number: u8, size: usize) -> u64 {
    request(2, kind, number, size)
}

pub(super) const fn read_write(kind: u8, number: u8, size: usize) -> u64 {
    request(3, kind, number, size)
}

/// As `_IOC` puts a request together.
const fn request(direction: u64, kind: u8, number: u8, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (kind as u64) << 8 | number as u64
}

/// Makes a btrfs subvolume in a directory.
pub fn subvolume(dir: &File, name: &str) -> io::Result<()> {
    /// `struct btrfs_ioctl_vol_args`
    #[repr(C)]
    struct Volume {
        fd: i64,
        name: [u8; 4088],
    }
    const BTRFS_IOC_SUBVOL_CREATE: u64 = write(0x94, 14, size_of::<Volume>());
    let mut volume = Volume { fd: 0, name: [0; 4088] };
    let place = volume.name.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name.as_bytes());
    // SAFETY: the structure is BTRFS_IOC_SUBVOL_CREATE's.
    unsafe { ioctl(dir, BTRFS_IOC_SUBVOL_CREATE, &mut volume) }
}
