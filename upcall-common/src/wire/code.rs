//! Outcome codes and the reasons of RESYNC.

use super::numbered::numbered;

numbered! {
    /// The outcome of an item or a request; one numbering for items and ERROR frames.
    pub enum Code {
        Ok = 0, "ok", "done";
        Malformed = 1, "malformed", "a body breaks the protocol: fix the sender; the connection is closed";
        FrameTooLarge = 2, "frame_too_large", "a body is larger than max_body: split the request; the connection is closed";
        Version = 3, "version", "no common protocol version: update the older side; the connection is closed";
        ExpectedHello = 4, "expected_hello", "something came before HELLO, or HELLO came twice: fix the sender; the connection is closed";
        UnknownType = 5, "unknown_type", "the daemon does not know this frame type: do without it or update the daemon";
        BatchTooLarge = 6, "batch_too_large", "more items than max_batch: split the request";
        NotPermitted = 7, "not_permitted", "this peer may not read the file, or is no operator: run as another user or pass a descriptor";
        NotExported = 8, "not_exported", "the file is in no export, or its export is not available (unmounted or replaced: `upcall status` says): add an export to the daemon's configuration, or put it back";
        NotFound = 9, "not_found", "no such file: check the path";
        StaleHandle = 10, "stale_handle", "the handle's file is gone or of another filesystem: get a new handle";
        BadTarget = 11, "bad_target", "the target cannot be used (descriptor missing, not open for reading, sent over TCP, or of a file type that cannot change): name the file another way";
        NoSlots = 12, "no_slots", "the daemon watches as many inodes as it can: raise its setting `slots`";
        Limit = 13, "limit", "this client has as many interests as it may: unregister some or raise the limit";
        NoInterest = 14, "no_interest", "no such interest on this connection: it has ended or was never made";
        BadMask = 15, "bad_mask", "the mask is empty or has unknown bits: use the change bits of this version";
        BadName = 16, "bad_name", "a path is empty, relative, too long or contains NUL: send an absolute path";
        Unsupported = 17, "unsupported", "this file or filesystem cannot be watched: poll it instead";
        Internal = 18, "internal", "the daemon failed at something: see its log and try again";
        TimedOut = 19, "timed_out", "the peer did not say HELLO or did not read in time: connect again; the connection is closed";
        TooManyClients = 20, "too_many_clients", "the daemon serves as many clients as it may: try later or raise the limit; the connection is closed";
    }
}

impl Code {
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }
}

numbered! {
    /// Why everything that a client caches may be stale.
    pub enum ResyncReason {
        Shutdown = 1, "shutdown", "the daemon stops, and nothing outlives it; a close follows";
        Overrun = 2, "overrun", "the daemon lost track of what this client must be told";
        SourceLost = 3, "source_lost", "the kernel stopped reporting changes for a time";
        Epoch = 4, "epoch", "the kernel maps are new: versions from before mean nothing";
    }
}
