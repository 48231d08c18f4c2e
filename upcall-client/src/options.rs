//! How a client behaves.

use std::time::Duration;

/// How a client behaves. The defaults suit most.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shown to the daemon's operators.
    pub name: String,
    /// To connect and be welcomed.
    pub connect_timeout: Duration,
    /// For the answer to one frame; a large request is many frames. A daemon that takes longer is taken for
    /// dead: the connection is given up, and the request fails with
    /// [`Disconnected`](crate::Error::Disconnected). Time that the program lets notices wait does not count.
    pub request_timeout: Duration,
    /// Connect again when the connection breaks.
    pub reconnect: bool,
    /// Before the first attempt to connect again; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest time between two attempts.
    pub backoff_max: Duration,
    /// Ping the daemon when nothing has come for this long, unless it owes an answer already, which must come
    /// within `request_timeout`. `None`: never; a host that vanishes goes unnoticed.
    pub ping_interval: Option<Duration>,
    /// Notices that may wait to be read before the socket is no longer read. At least 1.
    pub notice_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::from("upcall-client"),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            reconnect: true,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            ping_interval: Some(Duration::from_secs(30)),
            notice_capacity: 1024,
        }
    }
}
