//! Readers of kernel structures. Offsets come from the running kernel's BTF: the loader sets [`OFFSETS`], the
//! verifier sees constants.
//!
//! Two ways to read: [`load`] through a pointer whose type the verifier knows (a fault reads 0), and
//! [`probe`] through an address that is only a number.

mod task;

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use upcall_common::abi::{ABSENT, Attrs, BUSY_DIO, BUSY_SHARED, BUSY_WRITER, Key, Offsets};

pub use task::{current, in_kernel_thread, originator, submitter, syscall, thread};

use crate::maps::INODE_WORDS;

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNSET;

/// The offset of one field.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a plain read of a global; volatile, since its initial value means nothing.
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::offsets().$field) }
    };
}
pub(crate) use offset;

#[inline(always)]
pub const fn offsets() -> &'static Offsets {
    &OFFSETS
}

pub type Ptr = *const c_void;

/// A field behind a typed pointer.
#[inline(always)]
pub fn load<T>(base: Ptr, offset: u32) -> T {
    // SAFETY: the verifier checks the access against the type of `base`.
    unsafe { core::ptr::read_volatile(base.byte_add(offset as usize).cast()) }
}

/// A field behind an address; 0 where it cannot be read, since the helper then clears the destination. Not to
/// look at its result spares the verifier two ways on from every read.
#[inline(always)]
pub fn probe<T: Copy + Default>(base: u64, offset: u32) -> T {
    let mut value = T::default();
    let at = base.wrapping_add(offset as u64) as *const c_void;
    // SAFETY: the helper survives any source address and writes `size_of::<T>` bytes, plain integers.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, at) };
    value
}

/// Where fields of a structure are read: behind a pointer that the verifier knows, or behind an address.
pub trait Fields: Copy {
    fn field<T: Copy + Default>(self, offset: u32) -> T;
}

impl Fields for Ptr {
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        load(self, offset)
    }
}

impl Fields for u64 {
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        probe(self, offset)
    }
}

/// A copy of an inode: to take it whole costs little more than to read one field.
#[inline(always)]
pub fn copy(inode: u64, room: *mut [u64; INODE_WORDS]) -> Ptr {
    let bytes = offset!(inode_bytes);
    // SAFETY: the helper survives any source address; the verifier compares the size, a constant to it, with the room.
    unsafe { bpf_probe_read_kernel(room.cast(), bytes, inode as *const c_void) };
    room as Ptr
}

/// The pointer in the field at `offset` of what `ptr` points to.
#[inline(always)]
pub fn follow(ptr: Ptr, offset: u32) -> Ptr {
    load(ptr, offset)
}

/// The same value, but the verifier no longer knows anything of it: without this it follows every combination
/// of values that branches computed through all that comes after.
#[inline(always)]
pub fn forget(value: u64) -> u64 {
    probe(&raw const value as u64, 0)
}

#[inline(always)]
pub fn key(inode: Ptr) -> Key {
    let sb = follow(inode, offset!(inode_sb));
    Key {
        ino: load(inode, offset!(inode_ino)),
        dev: load(sb, offset!(sb_dev)),
        subvolume: subvolume(inode as u64, load(sb, offset!(sb_magic))),
    }
}

#[inline(always)]
pub fn probe_key(inode: u64) -> Key {
    let sb: u64 = probe(inode, offset!(inode_sb));
    Key {
        ino: probe(inode, offset!(inode_ino)),
        dev: probe(sb, offset!(sb_dev)),
        subvolume: subvolume(inode, probe(sb, offset!(sb_magic))),
    }
}

const BTRFS_SUPER_MAGIC: u64 = 0x9123_683e;
const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
const EXT4_SUPER_MAGIC: u64 = 0xef53;
const XFS_SUPER_MAGIC: u64 = 0x5846_5342;
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The subvolume of a btrfs inode: each has inode numbers of its own.
#[inline(always)]
pub fn subvolume(inode: u64, magic: u64) -> u32 {
    if magic != BTRFS_SUPER_MAGIC || offset!(btrfs_inode_vfs) == ABSENT {
        return 0;
    }
    let whole = inode - u64::from(offset!(btrfs_inode_vfs));
    probe(probe(whole, offset!(btrfs_inode_root)), offset!(btrfs_root_id))
}

/// The magic number of the inode's filesystem.
#[inline(always)]
pub fn magic(inode: impl Fields) -> u64 {
    probe(inode.field(offset!(inode_sb)), offset!(sb_magic))
}

/// Whether an inode of such a filesystem is an overlay's.
#[inline(always)]
pub fn is_overlay(magic: u64) -> bool {
    magic == OVERLAYFS_SUPER_MAGIC && offset!(ovl_inode_vfs) != ABSENT
}

/// Whether the inode itself has the attributes that a reader is told, as far as is known of its filesystem. An overlay's
/// gets times late, XFS keeps the sizes of directories elsewhere, and a network filesystem or FUSE asks its server.
#[inline(always)]
pub fn is_faithful(inode: impl Fields, magic: u64) -> bool {
    match magic {
        EXT4_SUPER_MAGIC | TMPFS_MAGIC | BTRFS_SUPER_MAGIC => true,
        XFS_SUPER_MAGIC => inode.field::<u16>(offset!(inode_mode)) & S_IFMT == S_IFREG,
        _ => false,
    }
}

/// The inode of the upper layer that an overlay's inode stands for; 0 before it is copied up.
#[inline(always)]
pub fn upper(inode: u64) -> u64 {
    let whole = inode - u64::from(offset!(ovl_inode_vfs));
    match probe::<u64>(whole, offset!(ovl_inode_upper)) {
        0 => 0,
        dentry => probe(dentry, offset!(dentry_inode)),
    }
}

/// Whether the inode is about to leave memory, or has left it: what is read of it may be of the past.
#[inline(always)]
pub fn is_dying(inode: u64) -> bool {
    probe::<u32>(inode, offset!(inode_state)) & offset!(inode_dying) != 0
}

/// How many shared mappings of the inode may be written to.
#[inline(always)]
pub fn mapped(inode: impl Fields) -> u32 {
    let writable: i32 = probe(inode.field(offset!(inode_mapping)), offset!(mapping_writable));
    // Below zero: writable mappings are denied.
    if writable > 0 { writable as u32 } else { 0 }
}

#[inline(always)]
pub fn generation(inode: impl Fields) -> u32 {
    inode.field(offset!(inode_generation))
}

/// The nanoseconds of ctime carry a flag in the top bit on multigrain filesystems.
const NSEC_MASK: u32 = 0x7fff_ffff;

#[inline(always)]
pub fn attrs(inode: impl Fields) -> Attrs {
    Attrs {
        size: inode.field(offset!(inode_size)),
        mtime_sec: inode.field(offset!(inode_mtime_sec)),
        ctime_sec: inode.field(offset!(inode_ctime_sec)),
        mtime_nsec: inode.field(offset!(inode_mtime_nsec)),
        ctime_nsec: inode.field::<u32>(offset!(inode_ctime_nsec)) & NSEC_MASK,
        mode: inode.field::<u16>(offset!(inode_mode)) as u32,
        uid: inode.field(offset!(inode_uid)),
        gid: inode.field(offset!(inode_gid)),
        nlink: inode.field(offset!(inode_nlink)),
    }
}

const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;
const S_IFDIR: u16 = 0o040_000;

/// A pipe, a socket or a character device, which has no contents to be watched.
#[inline(always)]
pub fn is_stream(inode: u64) -> bool {
    const S_IFIFO: u16 = 0o010_000;
    const S_IFCHR: u16 = 0o020_000;
    const S_IFSOCK: u16 = 0o140_000;
    matches!(probe::<u16>(inode, offset!(inode_mode)) & S_IFMT, S_IFIFO | S_IFCHR | S_IFSOCK)
}

#[inline(always)]
pub fn is_regular(inode: Ptr) -> bool {
    load::<u16>(inode, offset!(inode_mode)) & S_IFMT == S_IFREG
}

#[inline(always)]
pub fn is_dir(inode: Ptr) -> bool {
    load::<u16>(inode, offset!(inode_mode)) & S_IFMT == S_IFDIR
}

const RWSEM_WRITER: u64 = 1;
const RWSEM_READERS: u64 = !0xff & !(1 << 63);

/// What is under way on the inode: a combination of the `BUSY_*` bits.
#[inline(always)]
pub fn busy(inode: impl Fields) -> u32 {
    let rwsem: u64 = inode.field(offset!(inode_rwsem_count));
    let dio: u32 = inode.field(offset!(inode_dio_count));
    (if rwsem & RWSEM_WRITER != 0 { BUSY_WRITER } else { 0 })
        | (if rwsem & RWSEM_READERS != 0 { BUSY_SHARED } else { 0 })
        | (if dio != 0 { BUSY_DIO } else { 0 })
}

#[inline(always)]
pub fn inode_of_file(file: Ptr) -> Ptr {
    follow(file, offset!(file_inode))
}

#[inline(always)]
pub fn inode_of_dentry(dentry: Ptr) -> Ptr {
    follow(dentry, offset!(dentry_inode))
}

/// `FMODE_BACKING` has been either of these, and so have other flags: only a hint.
const MAYBE_BACKING: u32 = 1 << 24 | 1 << 25;

/// The overlay's inode through which this file of a layer below is used; 0 where there is none. Splices and
/// mappings call the functions of the layer's file alone.
#[inline(always)]
pub fn above(file: Ptr) -> u64 {
    let inode = inode_of_file(file) as u64;
    let dentry: u64 = load(file, offset!(file_dentry));
    // To 6.4 the layer's file carries the path of the overlay's.
    let named: u64 = probe(dentry, offset!(dentry_inode));
    if named != 0 && named != inode {
        return named;
    }
    if offset!(backing_dentry) == ABSENT
        || offset!(ovl_inode_vfs) == ABSENT
        || load::<u32>(file, offset!(file_mode)) & MAYBE_BACKING == 0
    {
        return 0;
    }
    let user: u64 = probe(probe(file as u64, offset!(backing_dentry)), offset!(dentry_inode));
    if user != 0 && is_overlay(magic(user)) && upper(user) == inode { user } else { 0 }
}

#[inline(always)]
pub fn parent_of_dentry(dentry: Ptr) -> Ptr {
    follow(dentry, offset!(dentry_parent))
}
