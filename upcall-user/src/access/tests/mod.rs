//! The matrix of users, targets and file systems. What needs root says so when it is skipped.

mod descriptors;
mod handles;
mod paths;
pub(super) mod tree;
