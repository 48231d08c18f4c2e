//! What is shown of the table.

use super::*;

/// All that is held of an inode.
#[derive(Debug, Default)]
pub(super) struct ShownInode {
    pub(super) opens: Vec<ShownOpen>,
    pub(super) locks: Vec<ShownLock>,
    pub(super) waiting: Vec<ShownRequest>,
}

pub(super) fn shown(table: &Table, inode: InodeId) -> ShownInode {
    let mut all = ShownInode::default();
    for (_, shown) in table.show(inode, None, None) {
        match shown {
            Shown::Open(open) => all.opens.push(open),
            Shown::Lock(lock) => all.locks.push(lock),
            Shown::Request(request) => all.waiting.push(request),
        }
    }
    all
}

#[test]
fn it_goes_on_after_any_place_and_a_client_is_shown_its_own() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    for client in [ann, bob] {
        let opens: Vec<OpenId> = (1..=3).map(|id| rig.open(client, id / 2, Access::Both)).collect();
        rig.lock((client, opens[0]), client.0 * 100, 5, LockKind::Write);
        rig.lock((client, opens[1]), client.0 * 100 + 10, 5, LockKind::Write);
        if client == bob {
            rig.blocked((bob, opens[2]), ann.0 * 100, 1, LockKind::Write);
        }
    }
    for (only, count) in [(None, 11), (Some(ann), 5), (Some(bob), 6)] {
        let all: Vec<Place> = rig.table.show(FILE, only, None).map(|(place, _)| place).collect();
        assert_eq!(all.len(), count);
        assert!(all.is_sorted());
        for (at, place) in all.iter().enumerate() {
            let rest: Vec<Place> = rig.table.show(FILE, only, Some(*place)).map(|(place, _)| place).collect();
            assert_eq!(rest, all[at + 1..]);
        }
    }
}
