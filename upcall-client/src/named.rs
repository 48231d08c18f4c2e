//! How a program names a file to the daemon.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use upcall_common::wire::{Code, MAX_HANDLE, MAX_PATH, Target};

#[derive(Clone, Debug)]
pub(crate) enum Named {
    Path(Vec<u8>),
    Handle { anchor: Vec<u8>, handle_type: i32, handle: Vec<u8> },
    Descriptor(Arc<OwnedFd>),
}

impl Named {
    pub(crate) fn path(path: PathBuf) -> Self {
        Self::Path(bytes(path))
    }

    pub(crate) fn handle(anchor: PathBuf, handle_type: i32, handle: Vec<u8>) -> Self {
        Self::Handle { anchor: bytes(anchor), handle_type, handle }
    }

    pub(crate) fn descriptor(file: OwnedFd) -> Self {
        Self::Descriptor(Arc::new(file))
    }

    /// The descriptor to pass along.
    pub(crate) fn file(&self) -> Option<&Arc<OwnedFd>> {
        match self {
            Self::Descriptor(file) => Some(file),
            _ => None,
        }
    }

    /// What a frame could not carry at all.
    pub(crate) fn unsendable(&self, descriptors: bool) -> Option<Code> {
        match self {
            Self::Path(path) | Self::Handle { anchor: path, .. } if path.len() > MAX_PATH => {
                Some(Code::BadName)
            }
            Self::Handle { handle, .. } if handle.len() > MAX_HANDLE => Some(Code::BadTarget),
            Self::Descriptor(_) if !descriptors => Some(Code::BadTarget),
            _ => None,
        }
    }

    /// This name in a request; `place` is where its descriptor will be.
    pub(crate) fn target(&self, place: u8) -> Target {
        match self {
            Self::Path(path) => Target::Path(path.clone()),
            Self::Handle { anchor, handle_type, handle } => {
                Target::Handle { anchor: anchor.clone(), handle_type: *handle_type, handle: handle.clone() }
            }
            Self::Descriptor(_) => Target::Descriptor(place),
        }
    }
}

fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}
