//! Sets of flags. Bits without a meaning are ignored.

use bytes::{Buf, BufMut, BytesMut};

use super::field::Field;
use crate::wire::error::{EncodeError, Malformed};

macro_rules! flags {
    ($(#[$doc:meta])* pub struct $type:ident { $($(#[$about:meta])* $field:ident = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $type {
            $($(#[$about])* pub $field: bool,)*
        }

        impl Field for $type {
            fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
                out.put_u16_le(0 $(| (u16::from(self.$field) << $bit))*);
                Ok(())
            }

            fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
                let bits = body.try_get_u16_le()?;
                Ok(Self { $($field: bits & (1 << $bit) != 0,)* })
            }
        }
    };
}

flags! {
    /// On what terms something is asked for.
    pub struct Terms {
        /// It was held before the connection broke.
        reclaim = 0,
        /// It is wanted also where the kernel cannot hold local processes to it.
        advisory_ok = 1,
        /// What is in the way may end: tell then.
        wait = 2,
    }
}

flags! {
    pub struct GrantFlags {
        /// The kernel does not hold local processes to it.
        advisory = 0,
    }
}

flags! {
    pub struct ShownFlags {
        /// Another one follows with the same tag.
        more = 0,
    }
}

flags! {
    /// What this daemon can do for a client, on some export at least.
    pub struct Means {
        leases = 0,
        shares = 1,
        locks = 2,
        /// Local processes wait until a lease is returned.
        kernel_leases = 3,
        /// Local processes are refused what a share reservation denies.
        kernel_denies = 4,
        /// Directories can be leased.
        directories = 5,
    }
}
