//! Absolute symlinks in a path. The kernel refuses them beneath a root, wherever they point.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, ResolveFlag, readlinkat};

use super::exports::Beneath;
use super::root::Root;
use super::walk::open_below;

/// Deeper paths are not searched for links: each step walks from the root again.
const MAX_DEPTH: usize = 64;

/// The path with its first symlink replaced by what it points to; `None` if there is none to be seen. The result
/// is nothing but another path to ask for, and proves nothing.
pub(super) fn expand(root: &Root, beneath: Beneath<'_>) -> Option<PathBuf> {
    let components: Vec<_> = beneath.rest.components().collect();
    if components.len() > MAX_DEPTH {
        return None;
    }
    let mut prefix = PathBuf::new();
    for (index, component) in components.iter().enumerate() {
        let parent = beneath.export.path().join(&prefix);
        prefix.push(component);
        if let Some(target) = link_target(root, &prefix) {
            let rest: PathBuf = components.iter().skip(index + 1).collect();
            return Some(parent.join(target).join(rest));
        }
    }
    None
}

fn link_target(root: &Root, prefix: &Path) -> Option<PathBuf> {
    let link: OwnedFd = open_below(root, prefix, OFlag::O_NOFOLLOW, ResolveFlag::empty()).ok()?;
    // Fails for whatever is no symlink.
    readlinkat(&link, "").ok().map(PathBuf::from)
}
