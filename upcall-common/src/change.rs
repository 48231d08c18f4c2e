//! Change bits: what happened to an inode. The same bits travel in slots, upcalls and interest masks.

/// File contents.
pub const DATA: u32 = 1 << 0;
/// File size.
pub const SIZE: u32 = 1 << 1;
/// Modification or change time.
pub const TIMES: u32 = 1 << 2;
/// Access time set explicitly. (Reads are not changes.)
pub const ATIME: u32 = 1 << 3;
/// Permission bits.
pub const MODE: u32 = 1 << 4;
/// User or group.
pub const OWNER: u32 = 1 << 5;
/// Extended attributes other than ACLs.
pub const XATTR: u32 = 1 << 6;
/// POSIX access control lists.
pub const ACL: u32 = 1 << 7;
/// Number of hard links.
pub const NLINK: u32 = 1 << 8;
/// A directory's entries.
pub const ENTRIES: u32 = 1 << 9;
/// The inode's own name or parent.
pub const RENAME: u32 = 1 << 10;
/// Inode flags (chattr), project id.
pub const FLAGS: u32 = 1 << 11;
/// The source cannot tell what changed: treat everything as changed. Always told.
pub const OTHER: u32 = 1 << 12;
/// The inode is gone; the interest has ended. Always told.
pub const FORGET: u32 = 1 << 13;
/// The file is mapped writable: changes may go on unseen until it is unmapped.
pub const VOLATILE: u32 = 1 << 14;
/// The interest's lifetime ran out; the interest has ended. Set by the daemon only. Always told.
pub const EXPIRED: u32 = 1 << 15;

/// Between the BPF programs and the daemon: the change may become visible only after the mark, so it is told
/// once more when the inode is at rest. Never told.
pub const EARLY: u32 = 1 << 16;
/// Between the BPF programs and the daemon: the safety net saw something of which no hook has told yet.
/// Never told.
pub const NET: u32 = 1 << 17;

/// Everything a content or attribute change can touch: what an untyped change stands for.
pub const ANY: u32 =
    DATA | SIZE | TIMES | ATIME | MODE | OWNER | XATTR | ACL | NLINK | ENTRIES | RENAME | FLAGS;
/// Told whatever the interest's mask says.
pub const ALWAYS: u32 = OTHER | FORGET | EXPIRED;
/// All bits with a meaning.
pub const ALL: u32 = ANY | ALWAYS | VOLATILE;

/// Every bit with the name that the command line, JSON output and documents use.
pub const NAMES: &[(u32, &str)] = &[
    (DATA, "DATA"),
    (SIZE, "SIZE"),
    (TIMES, "TIMES"),
    (ATIME, "ATIME"),
    (MODE, "MODE"),
    (OWNER, "OWNER"),
    (XATTR, "XATTR"),
    (ACL, "ACL"),
    (NLINK, "NLINK"),
    (ENTRIES, "ENTRIES"),
    (RENAME, "RENAME"),
    (FLAGS, "FLAGS"),
    (OTHER, "OTHER"),
    (FORGET, "FORGET"),
    (VOLATILE, "VOLATILE"),
    (EXPIRED, "EXPIRED"),
];

/// Names of the bits set in `mask`, lowest bit first.
pub fn names(mask: u32) -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter(move |(bit, _)| mask & bit != 0).map(|(_, name)| *name)
}

/// The bit called `name`, in any letter case.
pub fn by_name(name: &str) -> Option<u32> {
    NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_one_name() {
        assert_eq!(NAMES.iter().fold(0, |all, (bit, _)| all | bit), ALL);
        assert_eq!(NAMES.len(), ALL.count_ones() as usize);
        for (bit, name) in NAMES {
            assert_eq!(by_name(name), Some(*bit));
            assert!(names(*bit).eq([*name]));
        }
    }
}
