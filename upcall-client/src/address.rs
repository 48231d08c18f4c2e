//! Where the daemon listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The Unix socket where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/upcall/upcall.sock";

/// `unix:PATH` or `tcp:HOST:PORT`. Default: [`DEFAULT_SOCKET`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no address: write unix:PATH or tcp:HOST:PORT")]
pub struct AddressError(String);

impl Default for Address {
    fn default() -> Self {
        Self::Unix(PathBuf::from(DEFAULT_SOCKET))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Some(Self::Unix(path.into())),
            Some(("tcp", place)) => tcp(place),
            _ => None,
        };
        address.ok_or_else(|| AddressError(text.to_owned()))
    }
}

fn tcp(place: &str) -> Option<Address> {
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    if host.is_empty() {
        return None;
    }
    Some(Address::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() {
        for text in ["unix:/a/b", "unix:a:b", "tcp:localhost:7", "tcp:[::1]:7070", "tcp:10.0.0.1:65535"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("tcp:[::1]:7".parse(), Ok(Address::Tcp { host: "::1".into(), port: 7 }));
        assert_eq!(Address::default().to_string(), "unix:/run/upcall/upcall.sock");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "/a/b",
            "unix:",
            "tcp:",
            "tcp::7",
            "tcp:host",
            "tcp:host:",
            "tcp:host:65536",
            "tcp:::1:7",
            "udp:a:1",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains("unix:PATH or tcp:HOST:PORT"), "{error}");
        }
    }
}
