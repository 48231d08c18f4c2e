//! What an open, a lease and a lock are for. Closed: a number without a meaning is malformed.

use bytes::{Buf, BufMut, BytesMut};

use super::field::Field;
use crate::wire::error::{EncodeError, Malformed};

/// An enum over `u8` without room for other numbers.
macro_rules! modes {
    ($(#[$doc:meta])* pub enum $type:ident { $($(#[$about:meta])* $variant:ident = $number:literal, $name:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$about])* $variant = $number,)*
        }

        impl $type {
            /// Every value, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name that documents, logs and JSON use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Field for $type {
            fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
                out.put_u8(match self {
                    $(Self::$variant => $number,)*
                });
                Ok(())
            }

            fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
                match body.try_get_u8()? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(Malformed(concat!("no such mode: ", stringify!($type)))),
                }
            }
        }
    };
}

modes! {
    /// What an open may do.
    pub enum Access {
        Read = 1, "read";
        Write = 2, "write";
        Both = 3, "both";
    }
}

modes! {
    /// What an open forbids to the others.
    pub enum Deny {
        None = 0, "none";
        Read = 1, "read";
        Write = 2, "write";
        Both = 3, "both";
    }
}

modes! {
    pub enum LeaseKind {
        /// Shared: nobody changes the file.
        Read = 1, "read";
        /// Exclusive: nobody else opens the file.
        Write = 2, "write";
    }
}

modes! {
    /// What is left of a lease when it is given up.
    pub enum Keep {
        None = 0, "none";
        Read = 1, "read";
    }
}

modes! {
    pub enum LockKind {
        /// Shared.
        Read = 1, "read";
        /// Exclusive.
        Write = 2, "write";
    }
}
