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
        Limit = 13, "limit", "as many interests of this client, or open files of the daemon, as there may be: give some up or raise the limit";
        NoInterest = 14, "no_interest", "no such interest on this connection: it has ended or was never made";
        BadMask = 15, "bad_mask", "the mask is empty or has unknown bits: use the change bits of this version";
        BadName = 16, "bad_name", "a path is empty, relative, too long or contains NUL: send an absolute path";
        Unsupported = 17, "unsupported", "this file or filesystem cannot be watched, or not be held as asked: poll it instead, or accept advisory";
        Internal = 18, "internal", "the daemon failed at something: see its log and try again";
        TimedOut = 19, "timed_out", "the peer did not say HELLO or did not read in time: connect again; the connection is closed";
        TooManyClients = 20, "too_many_clients", "the daemon serves as many clients as it may: try later or raise the limit; the connection is closed";
        Conflict = 21, "conflict", "another client holds what this conflicts with: ask again later, or wait";
        Recalling = 22, "recalling", "a lease that is in the way is being recalled: ask again soon, or wait";
        LocalConflict = 23, "local_conflict", "a process on the storage host has the file open or locked in a way that conflicts: ask again later";
        Waiting = 24, "waiting", "not yet: an upcall tells the outcome";
        Deadlock = 25, "deadlock", "to wait would be to wait for oneself: release something first";
        Released = 26, "released", "the open or the connection ended while the request waited: ask again";
        Cancelled = 27, "cancelled", "the client gave up the request while it waited";
        Backoff = 28, "backoff", "this client's lease of the file was revoked a short time ago: ask again later";
        Grace = 29, "grace", "after a restart only reclaims are accepted for a time: ask again when it is over";
        NoReclaim = 30, "no_reclaim", "what is reclaimed was not held, or is held no more: ask for it anew";
        NotBegun = 31, "not_begun", "this connection has no identity: send STATE_BEGIN first";
        IdentityInUse = 32, "identity_in_use", "the identity belongs to another user: choose another";
        Disabled = 33, "disabled", "not enabled for this export: set `leases`, `shares` or `locks` to true for it in the daemon's configuration";
        NotOpen = 34, "not_open", "no such open of this client: it was closed or never made";
        NotHeld = 35, "not_held", "the open does not hold that lease: return the kind that it holds";
        NotCarried = 36, "not_carried", "the open's access does not carry this, or the new access would not carry its leases and locks: open the file for it";
        NotRecalled = 37, "not_recalled", "no recall is under way that could be extended";
        Extended = 38, "extended", "the recall has been extended already: return the lease";
        NoRequest = 39, "no_request", "no such request waits: its outcome has been told";
        BadRange = 40, "bad_range", "the range ends beyond 2^64: use a length of 0 for the rest of the file";
        TooManyOpens = 41, "too_many_opens", "as many opens as there may be, of the client or of the file: close some or raise the limit";
        TooManyLeases = 42, "too_many_leases", "as many leases as there may be, of the client or of the file: return some or raise the limit";
        TooManyLocks = 43, "too_many_locks", "as many locked ranges as there may be, of the client or of the file: unlock some or raise the limit";
        TooManyWaiting = 44, "too_many_waiting", "as many requests wait as may, of the client or for the file, or it takes too long to tell whether this would be a deadlock: ask again later or raise the limit";
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
