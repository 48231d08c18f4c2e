//! Stands between TCP clients and the daemon, and breaks connections anywhere.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use anyhow::{Result, bail};
use upcall_client::Address;

#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    /// Rises when all connections of now are to break.
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn start(to: &Address) -> Result<Self> {
        let Address::Tcp { host, port: to_port } = to else { bail!("only TCP goes through the proxy") };
        let to = (host.clone(), *to_port);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let cuts: Arc<AtomicU64> = Arc::default();
        let of_connections = Arc::clone(&cuts);
        // For as long as the process lives; it has nothing to tell.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The daemon may be down: then the connection ends at once, as it would without us.
                let Ok(daemon) = TcpStream::connect((to.0.as_str(), to.1)) else { continue };
                let _ = join(client, daemon, &of_connections);
            }
        });
        Ok(Self { port, cuts })
    }

    pub(crate) fn address(&self) -> Address {
        Address::Tcp { host: "127.0.0.1".into(), port: self.port }
    }

    /// Each connection breaks in the middle of what it carries next.
    pub(crate) fn cut(&self) {
        self.cuts.fetch_add(1, SeqCst);
    }
}

fn join(client: TcpStream, daemon: TcpStream, cuts: &Arc<AtomicU64>) -> io::Result<()> {
    let before = cuts.load(SeqCst);
    for (from, to) in [(client.try_clone()?, daemon.try_clone()?), (daemon, client)] {
        let cuts = Arc::clone(cuts);
        thread::spawn(move || {
            // However it ends, both sides must see it.
            let _ = carry(&from, &to, || cuts.load(SeqCst) != before);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, is_cut: impl Fn() -> bool) -> io::Result<()> {
    let mut bytes = [0; 65536];
    loop {
        let length = match from.read(&mut bytes)? {
            0 => return Ok(()),
            length if is_cut() => length / 2,
            length => length,
        };
        to.write_all(bytes.get(..length).unwrap_or_default())?;
        if is_cut() {
            return Ok(());
        }
    }
}
