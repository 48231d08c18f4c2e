//! A body's fields in one place each, and the messages of one direction in one enum.

/// A struct whose fields follow each other on the wire.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$about])* pub $field: $type,)*
        }

        impl $crate::wire::state::field::Field for $name {
            fn put(&self, out: &mut bytes::BytesMut) -> Result<(), $crate::wire::error::EncodeError> {
                $($crate::wire::state::field::Field::put(&self.$field, out)?;)*
                Ok(())
            }

            fn get(body: &mut &[u8]) -> Result<Self, $crate::wire::error::Malformed> {
                Ok(Self { $($field: <$type as $crate::wire::state::field::Field>::get(body)?,)* })
            }
        }
    };
}

/// An enum of messages, each named like its frame type.
macro_rules! messages {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident($record:ty),)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($variant($record),)*
        }

        impl $name {
            pub(in crate::wire) fn frame_type(&self) -> $crate::wire::FrameType {
                match self {
                    $(Self::$variant(_) => $crate::wire::FrameType::$variant,)*
                }
            }

            pub(in crate::wire) fn put(&self, out: &mut bytes::BytesMut) -> Result<(), $crate::wire::error::EncodeError> {
                match self {
                    $(Self::$variant(record) => $crate::wire::state::field::Field::put(record, out),)*
                }
            }

            /// `None`: it is of another type than these.
            pub(in crate::wire) fn get(
                frame_type: $crate::wire::FrameType,
                body: &mut &[u8],
            ) -> Result<Option<Self>, $crate::wire::error::Malformed> {
                match frame_type {
                    $($crate::wire::FrameType::$variant => {
                        <$record as $crate::wire::state::field::Field>::get(body).map(|record| Some(Self::$variant(record)))
                    })*
                    _ => Ok(None),
                }
            }
        }
    };
}

pub(super) use {messages, record};
