//! Which daemons understand each other's maps.

/// Two builds with the same value lay out pinned maps alike and mean the same by them: one may take over from the
/// other. It is a digest of the sources that say so, so that nobody can forget to change it.
pub const LAYOUT: u64 = {
    let digest = fnv1a(OFFSET_BASIS, include_str!("mod.rs"));
    let digest = fnv1a(digest, include_str!("slot.rs"));
    let digest = fnv1a(digest, include_str!("word.rs"));
    let digest = fnv1a(digest, include_str!("../index.rs"));
    let digest = fnv1a(digest, include_str!("../protocol/mod.rs"));
    let digest = fnv1a(digest, include_str!("../protocol/mark.rs"));
    let digest = fnv1a(digest, include_str!("../protocol/take.rs"));
    fnv1a(digest, include_str!("../change.rs"))
};

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

const fn fnv1a(mut digest: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        digest = (digest ^ bytes[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_fnv1a() {
        assert_eq!(fnv1a(OFFSET_BASIS, ""), OFFSET_BASIS);
        assert_eq!(fnv1a(OFFSET_BASIS, "foobar"), 0x8594_4171_f739_67e8);
    }
}
