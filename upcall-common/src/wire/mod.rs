//! The protocol between daemon and clients, as PROTOCOL.md specifies it: a pure codec without I/O.
//!
//! [`decode`] takes one whole frame off a buffer; [`encode`] appends one. [`UpcallBatch`] appends an
//! UPCALL frame item by item. Nothing is allocated for a peer's count before the bytes are at hand.

mod attrs;
mod code;
mod entries;
mod error;
mod fields;
mod frame;
mod hello;
mod message;
mod numbered;
mod register;
mod renew;
mod state;
mod upcall;

pub use self::attrs::Attrs;
pub use self::code::{Code, ResyncReason};
pub use self::entries::{EntryKind, EntryName};
pub use self::error::{DecodeError, EncodeError};
pub use self::frame::{FrameType, HEADER_LEN, Header, take_frame};
pub use self::hello::{Hello, Welcome};
pub use self::message::{Message, decode, encode};
pub use self::register::{Known, RegisterItem, Registered, Target, descriptors};
pub use self::renew::RenewItem;
pub use self::state::{
    Access, Cancel, Close, Contention, Deny, Done, Extend, Extended, GrantFlags, Identity, Json, Keep, Lease,
    LeaseId, LeaseKind, Leased, Lock, LockConflict, LockGranted, LockKind, LockTest, Locked, Means, Open,
    OpenChange, OpenGranted, Opened, Recall, Return, Revoked, ShownFlags, StateAnswer, StateBegin,
    StateBegun, StateQuery, StateRequest, StateShown, StateUpcall, Terms, Unlock, Who,
};
pub use self::upcall::{UpcallBatch, UpcallItem};

/// First bytes of every HELLO.
pub const MAGIC: [u8; 4] = *b"UPCL";
/// The version of the protocol that this code speaks.
pub const VERSION: u16 = 1;
/// Largest body of a frame, in bytes.
pub const MAX_BODY: u32 = 1 << 20;
/// Items in one request that a daemon accepts unless its WELCOME says otherwise.
pub const MAX_BATCH: u32 = 4096;
/// Items that [`UpcallBatch`] puts into one frame.
pub const MAX_UPCALLS: u32 = 4096;
/// Descriptors that may accompany one REGISTER frame.
pub const MAX_DESCRIPTORS: usize = 16;
/// Longest file handle, in bytes: the kernel's `MAX_HANDLE_SZ`.
pub const MAX_HANDLE: usize = 128;
/// Longest path, in bytes; the codec itself takes longer ones, for the daemon to refuse by item.
pub const MAX_PATH: usize = 4096;
/// Names of entries that one UPCALL item carries at most.
pub const MAX_ENTRY_NAMES: usize = 256;
/// Bytes of these on the wire at most.
pub const MAX_ENTRY_BYTES: usize = 16 << 10;
/// Bytes of names that wait for one client at most.
pub const MAX_WAITING_BYTES: usize = 512 << 10;
/// Longest payload of PING and PONG, in bytes.
pub const MAX_PING: usize = 64;
/// Longest name in HELLO and WELCOME, in bytes.
pub const MAX_NAME: usize = 256;
/// Longest text that [`encode`] puts into RESYNC and ERROR; the rest is cut off.
pub const MAX_TEXT: usize = 1024;
/// Feature bit: descriptors may be passed with REGISTER (Unix sockets only).
pub const FEATURE_DESCRIPTORS: u64 = 1 << 0;
/// Feature bit: interests in directories may ask for names.
pub const FEATURE_NAMES: u64 = 1 << 1;
/// Feature bit: opens, leases and locks.
pub const FEATURE_STATE: u64 = 1 << 2;
