//! Where marks went.

/// Of a client or of all: where every mark went. `marked` is the sum of the next three plus what is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Account {
    /// Marks of inodes it was interested in.
    pub marked: u64,
    /// Upcalls sent.
    pub delivered: u64,
    /// Marks that shared an upcall with another.
    pub coalesced: u64,
    /// Marks it was not told of: its own, or changes that it did not ask for.
    pub suppressed: u64,
    /// Upcalls sent beyond these, for marks already counted with another upcall.
    pub repeated: u64,
}

impl std::ops::Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            marked: self.marked + other.marked,
            delivered: self.delivered + other.delivered,
            coalesced: self.coalesced + other.coalesced,
            suppressed: self.suppressed + other.suppressed,
            repeated: self.repeated + other.repeated,
        }
    }
}
