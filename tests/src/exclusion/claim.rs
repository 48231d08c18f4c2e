//! What one member says that it holds of one file, and who excludes whom. Pure.

use std::fmt;

/// Bytes of a file that are locked, each by itself.
pub(super) const CELLS: u64 = 16;

pub(super) const READ: u8 = 1;
pub(super) const WRITE: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// [`READ`], [`WRITE`] or both; so is `deny`.
    pub(super) access: u8,
    pub(super) deny: u8,
    /// The stronger of its leases: 0, [`READ`] or [`WRITE`].
    pub(super) lease: u8,
    /// Of a local process.
    pub(super) local: bool,
    /// Two bits for each cell: 0, [`READ`] or [`WRITE`].
    pub(super) locks: u32,
}

impl Claim {
    /// In 40 bits.
    pub(super) fn pack(self) -> u64 {
        let modes = self.access | (self.deny << 2) | (self.lease << 4) | (u8::from(self.local) << 6);
        u64::from(modes) | (u64::from(self.locks) << 8)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let bits = |from: u32| ((word >> from) & 3) as u8;
        Self {
            access: bits(0),
            deny: bits(2),
            lease: bits(4),
            local: word & (1 << 6) != 0,
            locks: (word >> 8) as u32,
        }
    }

    pub(super) fn lock(self, cell: u64) -> u8 {
        ((self.locks >> (2 * cell)) & 3) as u8
    }

    pub(super) fn set_lock(&mut self, cell: u64, kind: u8) {
        self.locks = (self.locks & !(3 << (2 * cell))) | (u32::from(kind) << (2 * cell));
    }

    /// What they may not both have. Of deny modes local processes know nothing where the kernel does not enforce them, and
    /// what is between two of them is not ours.
    pub(super) fn excludes(self, other: Self) -> Option<&'static str> {
        if self.local && other.local {
            return None;
        }
        let leased = |of: Self, beside: Self| match of.lease {
            WRITE => beside.access != 0 || beside.lease != 0,
            READ => beside.access & WRITE != 0 || beside.lease == WRITE,
            _ => false,
        };
        let locked = |cell| {
            let (own, its) = (self.lock(cell), other.lock(cell));
            own != 0 && its != 0 && (own == WRITE || its == WRITE)
        };
        let denied = self.deny & other.access != 0 || other.deny & self.access != 0;
        if leased(self, other) || leased(other, self) {
            Some("a lease")
        } else if denied && !self.local && !other.local {
            Some("a share reservation")
        } else if (0..CELLS).any(locked) {
            Some("a lock")
        } else {
            None
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |bits: u8| ["none", "read", "write", "both"][usize::from(bits & 3)];
        let Self { access, deny, lease, local, locks } = *self;
        let who = if local { "process" } else { "client" };
        write!(f, "{who}: access {}, deny {}, lease {}", named(access), named(deny), named(lease))?;
        if locks != 0 { write!(f, ", locks {locks:#010x}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Claim = Claim { access: 0, deny: 0, lease: 0, local: false, locks: 0 };

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut claim = Claim { access: 3, deny: WRITE, lease: READ, local: true, locks: 0 };
        claim.set_lock(CELLS - 1, WRITE);
        claim.set_lock(3, READ);
        assert_eq!(Claim::unpack(claim.pack() | 7 << 40), claim);
    }

    #[test]
    fn leases_exclude_as_they_promise() {
        let access = |access| Claim { access, ..NONE };
        let lease = |lease| Claim { access: 3, lease, ..NONE };
        let reader = Claim { access: READ, lease: READ, ..NONE };
        for (one, other, excluded) in [
            (reader, reader, false),
            (reader, access(READ), false),
            (reader, access(WRITE), true),
            (lease(WRITE), access(READ), true),
            (lease(WRITE), reader, true),
            (access(3), access(3), false),
        ] {
            assert_eq!(one.excludes(other).is_some(), excluded, "{one} beside {other}");
            assert_eq!(other.excludes(one).is_some(), excluded, "{other} beside {one}");
            let local = Claim { local: true, lease: 0, ..other };
            if other.lease == 0 {
                assert_eq!(one.excludes(local).is_some(), excluded, "{one} beside {local}");
            }
        }
    }

    #[test]
    fn deny_modes_and_locks_exclude() {
        let denies = Claim { access: READ, deny: WRITE, ..NONE };
        let writes = Claim { access: WRITE, ..NONE };
        assert!(denies.excludes(writes).is_some() && writes.excludes(denies).is_some());
        assert!(denies.excludes(denies).is_none());
        assert!(denies.excludes(Claim { local: true, ..writes }).is_none());
        let locks = |cell, kind| {
            let mut claim = NONE;
            claim.set_lock(cell, kind);
            claim
        };
        assert!(locks(4, READ).excludes(locks(4, READ)).is_none());
        assert!(locks(4, READ).excludes(locks(4, WRITE)).is_some());
        assert!(locks(4, WRITE).excludes(locks(5, WRITE)).is_none());
        assert!(locks(4, WRITE).excludes(Claim { local: true, ..locks(4, WRITE) }).is_some());
    }
}
