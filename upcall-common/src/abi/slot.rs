/// What the kernel calls an inode: `(super_block.s_dev, inode.i_ino)`, on btrfs with the subvolume, whose inode
/// numbers are its own. Not `st_dev` and `st_ino`, which differ on btrfs subvolumes and overlayfs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    pub ino: u64,
    /// The kernel's own encoding: major << 20 | minor.
    pub dev: u32,
    /// The low half of the subvolume's root id on btrfs; 0 elsewhere, and where the kernel does not tell.
    pub subvolume: u32,
}

impl Key {
    pub const fn new(dev: u32, ino: u64) -> Self {
        Self { ino, dev, subvolume: 0 }
    }

    /// The record as little-endian machines lay it out.
    pub const fn words(self) -> [u64; 2] {
        [self.ino, pair(self.dev, self.subvolume)]
    }

    pub const fn from_words([ino, dev_subvolume]: [u64; 2]) -> Self {
        Self { ino, dev: dev_subvolume as u32, subvolume: (dev_subvolume >> 32) as u32 }
    }
}

/// Attributes of an inode, as the kernel holds them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bytes.
    pub size: u64,
    pub mtime_sec: i64,
    pub ctime_sec: i64,
    pub mtime_nsec: u32,
    pub ctime_nsec: u32,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
}

impl Attrs {
    /// The record as little-endian machines lay it out.
    pub const fn words(self) -> [u64; 6] {
        [
            self.size,
            self.mtime_sec as u64,
            self.ctime_sec as u64,
            pair(self.mtime_nsec, self.ctime_nsec),
            pair(self.mode, self.uid),
            pair(self.gid, self.nlink),
        ]
    }

    pub const fn from_words(words: [u64; 6]) -> Self {
        let [size, mtime_sec, ctime_sec, nsec, mode_uid, gid_nlink] = words;
        Self {
            size,
            mtime_sec: mtime_sec as i64,
            ctime_sec: ctime_sec as i64,
            mtime_nsec: nsec as u32,
            ctime_nsec: (nsec >> 32) as u32,
            mode: mode_uid as u32,
            uid: (mode_uid >> 32) as u32,
            gid: gid_nlink as u32,
            nlink: (gid_nlink >> 32) as u32,
        }
    }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The one record per watched inode. The daemon maps the array of slots and sees each word as an atomic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// A [`super::Word`]: pending changes and who made them. BPF programs OR into it, the daemon swaps in 0.
    pub pending: u64,
    /// Rises with each change; never falls, not even when the slot changes hands.
    pub version: u64,
    /// Kernel address of the inode when it was last seen. Only a hint: whoever reads through it compares
    /// the inode's identity.
    pub inode: u64,
    pub key: Key,
    /// `i_generation`: tells a reused inode number.
    pub generation: u32,
    /// 1 while somebody, on either side, stores `attrs`.
    pub attrs_lock: u32,
    /// The version that `attrs` belong to.
    pub attrs_version: u64,
    pub attrs: Attrs,
    /// The thread (tgid << 32 | tid) in which the safety net saw a change that no hook has told of yet: 0 for none,
    /// [`NET_SEVERAL`] once there are two. The hook that tells of it clears it.
    pub net: u64,
    /// The daemon's alone. Non-zero while something of the inode may be still to be told, though nothing is pending: a
    /// daemon that takes over starts there.
    pub unsettled: u64,
    pub reserved: u64,
}

/// See [`Slot::net`].
pub const NET_SEVERAL: u64 = u64::MAX;

const _: () = {
    assert!(size_of::<Key>() == 16);
    assert!(size_of::<Attrs>() == 48);
    assert!(size_of::<Slot>() == 128);
    // One word to both sides: `protocol::Slot::lock`.
    assert!(core::mem::offset_of!(Slot, generation) % 8 == 0);
    assert!(core::mem::offset_of!(Slot, attrs_lock) == core::mem::offset_of!(Slot, generation) + 4);
};
