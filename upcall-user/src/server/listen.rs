//! Sockets that clients connect to.

use std::{
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};

use super::{
    Service,
    session::{self, Place},
    stream::Stream,
};
use crate::{
    access::Principal,
    hub::{ClientInfo, Process},
    sys::peer,
};

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("another daemon listens on {0}; stop it, or choose another socket with --unix")]
    InUse(PathBuf),
    #[error("cannot listen on {what}: {error}; choose another address with --unix or --tcp")]
    Bind { what: String, error: io::Error },
    #[error("{0} is not a loopback address: without TLS, TCP is for this host alone; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
}

/// Bound sockets. The Unix socket's file goes with them.
pub struct Listeners {
    unix: UnixListener,
    path: PathBuf,
    tcp: Option<TcpListener>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        // Gone already: just as well.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listeners {
    /// The Unix socket is open to every local user: permission is checked per file.
    pub async fn bind(path: &Path, tcp: Option<SocketAddr>) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Bind { what: path.display().to_string(), error };
        // First, so that a refusal leaves no file behind.
        let tcp = match tcp {
            Some(address) if !address.ip().is_loopback() => return Err(ListenError::NotLoopback(address)),
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| ListenError::Bind { what: address.to_string(), error })?,
            ),
            None => None,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(ListenError::InUse(path.to_owned()));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let unix = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Self { unix, path: path.to_owned(), tcp })
    }

    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Accepts clients, `most` at a time, until it is dropped. Sessions hold a clone of `alive` while they run.
    pub async fn serve(&self, service: Arc<Service>, most: usize, alive: mpsc::Sender<()>) {
        let places = Arc::new(Semaphore::new(most));
        // Never closed, so there is always a permit to come.
        while let Ok(permit) = Arc::clone(&places).acquire_owned().await {
            let place = Place { _permit: permit, _alive: alive.clone() };
            tokio::select! {
                accepted = self.unix.accept() => match accepted {
                    Ok((stream, _)) => start_unix(stream, &service, place),
                    Err(error) => pause(&error).await,
                },
                accepted = accept_tcp(self.tcp.as_ref()) => match accepted {
                    Ok((stream, address)) => start_tcp(stream, address, &service, place),
                    Err(error) => pause(&error).await,
                },
            }
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Out of descriptors, most likely: the backlog stays until some are free again.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a client");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

fn start_unix(stream: UnixStream, service: &Arc<Service>, place: Place) {
    let peer = peer::peer_ids(std::os::fd::AsFd::as_fd(&stream))
        .and_then(|ids| Ok((ids, Principal::of_peer(&stream)?)));
    let (ids, principal) = match peer {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "cannot tell who a client is; its connection is closed");
            return;
        }
    };
    // Without a pidfd, or with numbers of another pid namespace than the kernel side sees, nothing is provably
    // the client's own, and it is told of everything.
    let tgid = u32::try_from(ids.pid).unwrap_or(0);
    let process = peer::peer_pidfd(std::os::fd::AsFd::as_fd(&stream))
        .ok()
        .filter(|_| service.in_initial_pid_namespace)
        .map(|pidfd| Process::new(tgid, pidfd));
    let info = ClientInfo { name: String::new(), address: "unix".into(), uid: principal.uid, pid: tgid };
    let peer = session::Peer { info, principal, process, local: true, features: 0 };
    start(stream.into_std().map(Into::into), peer, service, place);
}

fn start_tcp(stream: TcpStream, address: SocketAddr, service: &Arc<Service>, place: Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off delayed sending");
    }
    let principal = service.tcp_principal.clone();
    let info = ClientInfo { name: String::new(), address: address.to_string(), uid: principal.uid, pid: 0 };
    let peer = session::Peer { info, principal, process: None, local: false, features: 0 };
    start(stream.into_std().map(Into::into), peer, service, place);
}

fn start(socket: io::Result<OwnedFd>, peer: session::Peer, service: &Arc<Service>, place: Place) {
    match socket.and_then(Stream::new) {
        Ok(stream) => drop(tokio::spawn(session::run(stream, peer, Arc::clone(service), place))),
        Err(error) => tracing::warn!(%error, "cannot watch a client's socket; its connection is closed"),
    }
}
