//! Number, name and meaning of a wire constant in one row.

/// An enum over `u16` that keeps numbers it does not know, so that newer peers can be understood.
macro_rules! numbered {
    ($(#[$doc:meta])* $vis:vis enum $type:ident { $($variant:ident = $number:literal, $name:literal, $meaning:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $type {
            $(#[doc = $meaning] $variant,)*
            /// A number from a newer peer.
            Unrecognised(u16),
        }

        impl $type {
            /// Every value with a meaning, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name that documents, logs and JSON use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unrecognised(_) => "unrecognised",
                }
            }

            /// One line: what it means and, for a failure, what to do.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Unrecognised(_) => "from a newer version of the protocol",
                }
            }
        }

        impl From<u16> for $type {
            fn from(number: u16) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unrecognised(other),
                }
            }
        }

        impl From<$type> for u16 {
            fn from(value: $type) -> u16 {
                match value {
                    $($type::$variant => $number,)*
                    $type::Unrecognised(number) => number,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Unrecognised(number) => write!(f, "unrecognised {number}"),
                    known => f.write_str(known.as_str()),
                }
            }
        }
    };
}

pub(super) use numbered;
