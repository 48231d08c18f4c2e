//! The end of inodes.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use upcall_common::{
    abi::{Hook, Op},
    change::FORGET,
};

use crate::{
    kernel::{Ptr, load, offset},
    mark::{self, Change},
};

/// `void evict(struct inode *inode)`: with no links left the inode is deleted; otherwise it only leaves the
/// cache and may come back.
#[fentry(function = "evict")]
pub fn evict(ctx: FEntryContext) -> i32 {
    let inode: Ptr = ctx.arg(0);
    if load::<u32>(inode, offset!(inode_nlink)) == 0 {
        let what = Change { changes: FORGET, op: Op::Evict as u16, hook: Hook::Evict, amount: 0 };
        mark::change::<true>(inode, 0, what);
    }
    0
}
