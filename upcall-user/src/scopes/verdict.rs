//! What a client may be told of a child, by what is at the child's path. Pure.

use upcall_common::change::{ACL, MODE, NLINK, OWNER};

use crate::hub::{Child, Fate};

/// What is at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The child.
    Itself {
        readable: bool,
    },
    /// Another inode. `told`: by itself, together with the child.
    Other {
        readable: bool,
        told: bool,
    },
    Nothing,
    /// Not even the directory.
    NoDirectory,
    /// The client may not get there.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there. `changes`: those that may be told.
    Here { changes: u32 },
    /// It is not there any more.
    Gone,
    /// What is there now is told in its place.
    Instead,
    /// The client may not know.
    Hidden,
}

/// What somebody sees of a file who may not read it.
const OUTSIDE: u32 = MODE | OWNER | ACL;

/// `known`: the client may read the names in the directory, or could when it was there.
pub(super) fn judge(child: &Child, seen: Seen, known: bool) -> Verdict {
    match seen {
        Seen::Itself { readable: true } => Verdict::Here { changes: child.changes },
        // Until this change it may have been readable: it is the last one to be told.
        Seen::Itself { readable: false } if known && child.changes & OUTSIDE != 0 => {
            Verdict::Here { changes: child.changes & OUTSIDE }
        }
        // Its own upcall may have gone out before: then the name must not seem to be nobody's.
        Seen::Other { readable: true, told: false } if child.old_path.is_none() => Verdict::Instead,
        Seen::Other { .. } | Seen::Nothing if known => Verdict::Gone,
        // Whatever moved the directory came later, and is told of the directory, which speaks for all in it.
        Seen::NoDirectory if !has_ended(child) => Verdict::Hidden,
        Seen::NoDirectory if known => Verdict::Gone,
        // Who may know of a directory that is gone is told of that one, which speaks for all in it.
        Seen::NoDirectory => Verdict::Hidden,
        Seen::Itself { .. } | Seen::Other { .. } | Seen::Nothing | Seen::Closed => Verdict::Hidden,
    }
}

/// It has been removed, as far as the hub can tell: what is out of memory has no attributes, nor links.
fn has_ended(child: &Child) -> bool {
    let out_of_memory = child.attrs.is_none() && !child.directory && !child.links;
    child.fate == Fate::Gone || child.fate == Fate::Stays && out_of_memory && child.changes & NLINK != 0
}
