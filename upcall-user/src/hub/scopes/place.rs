//! Where an inode is, as the BPF programs say.

use std::{
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use upcall_common::abi::{CHILD_PATH, PLACE_ROOTS, Place};

/// A [`Place`] as words.
pub type PlaceWords = [AtomicU64; size_of::<Place>() / 8];

/// Where an inode is by one of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// Slots of the scopes that it is in, and its path from each.
    pub below: Vec<Below>,
    /// There are more scopes, or names, than could be said.
    pub cut: bool,
}

/// Below a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    pub root: u32,
    /// Relative to the scope's directory.
    pub path: Vec<u8>,
}

impl Below {
    /// Whether it lies directly in the directory.
    pub fn is_child(&self) -> bool {
        !self.path.contains(&b'/')
    }
}

impl Located {
    /// `None`: there is no such name.
    pub fn read(words: &[AtomicU64]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(size_of::<Place>());
        words.iter().for_each(|word| bytes.extend(word.load(SeqCst).to_ne_bytes()));
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let path_at = offset_of!(Place, path);
        let len = usize::try_from(number(offset_of!(Place, len))).unwrap_or(0).min(CHILD_PATH);
        let names: Vec<&[u8]> = bytes
            .get(path_at..path_at + len)
            .unwrap_or_default()
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|name| name.strip_suffix(&[0]))
            .collect();
        let found = usize::try_from(number(offset_of!(Place, found))).unwrap_or(0).min(PLACE_ROOTS);
        let below = (0..found).filter_map(|at| {
            let count = usize::try_from(number(offset_of!(Place, names) + 4 * at)).ok()?;
            let mut from_root = names.get(..count)?.to_vec();
            from_root.reverse();
            Some(Below { root: number(offset_of!(Place, roots) + 4 * at), path: from_root.join(&b'/') })
        });
        (len > 0).then(|| Self { below: below.collect(), cut: number(offset_of!(Place, cut)) != 0 })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As a BPF program writes it.
    pub(crate) fn words(names: &[&str], roots: &[(u32, u32)], cut: bool) -> Vec<u64> {
        let mut place = Place {
            roots: [0; PLACE_ROOTS],
            names: [0; PLACE_ROOTS],
            found: u32::try_from(roots.len()).expect("few"),
            cut: u32::from(cut),
            len: 0,
            pad: 0,
            path: [0; CHILD_PATH],
        };
        for (at, (root, names)) in roots.iter().enumerate() {
            (place.roots[at], place.names[at]) = (*root, *names);
        }
        let path: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
        place.path[..path.len()].copy_from_slice(&path);
        place.len = u32::try_from(path.len()).expect("short");
        let numbers = [place.roots, place.names, [place.found, place.cut, place.len, place.pad]].concat();
        let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_ne_bytes()).chain(place.path).collect();
        bytes.chunks(8).map(|it| u64::from_ne_bytes(it.try_into().expect("eight"))).collect()
    }

    fn read(words: Vec<u64>) -> Option<Located> {
        Located::read(&words.into_iter().map(AtomicU64::new).collect::<Vec<_>>())
    }

    #[test]
    fn a_path_goes_from_each_scope_to_the_inode() {
        let below = |root, path: &str| Below { root, path: path.into() };
        let located = read(words(&["file", "sub", "dir", "srv"], &[(7, 2), (9, 3)], false)).expect("a name");
        assert_eq!(located.below, [below(7, "sub/file"), below(9, "dir/sub/file")]);
        assert!(!located.cut && !located.below[0].is_child());
        let child = read(words(&["file", "srv"], &[(7, 1)], false)).expect("a name");
        assert!(child.below[0].is_child());
    }

    #[test]
    fn nonsense_is_no_place() {
        assert_eq!((read(vec![]), read(words(&[], &[], false))), (None, None));
        assert_eq!(read(words(&["file"], &[(7, 3)], true)), Some(Located { below: Vec::new(), cut: true }));
        assert_eq!(read(vec![u64::MAX; 110]).map(|it| it.below), Some(Vec::new()));
    }
}
