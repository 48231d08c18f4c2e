//! A client that keeps what it is told.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout, timeout_at},
};
use upcall_client::{Address, Client, Notice, Options, Registered, Upcalls, Watch};

use crate::deadline::{LOOK, patience};

#[derive(Debug)]
pub struct Listener {
    pub client: Client,
    upcalls: Upcalls,
    /// In the order of arrival.
    pub heard: Vec<Notice>,
}

/// Runs a test's asynchronous part.
pub fn block_on<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(test)
}

/// For asynchronous parts that share something.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Listener {
    pub async fn connect(address: &Address, name: &str) -> Result<Self> {
        let options = Options {
            name: name.to_owned(),
            request_timeout: patience(),
            connect_timeout: patience(),
            ..Options::default()
        };
        Self::connect_with(address, options).await
    }

    pub async fn connect_with(address: &Address, options: Options) -> Result<Self> {
        let (client, upcalls) = Client::connect(address, options).await?;
        Ok(Self { client, upcalls, heard: Vec::new() })
    }

    /// Makes interests, all of which must succeed.
    pub async fn watch(&mut self, watches: Vec<Watch>) -> Result<Vec<Registered>> {
        let client = self.client.clone();
        let outcomes = self.listening(client.register(watches)).await??;
        Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
    }

    /// Waits for an answer and goes on listening.
    pub async fn listening<T>(&mut self, answer: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                notice = self.upcalls.next() => self.heard.push(notice.context("the client has stopped")?),
            }
        }
    }

    /// A barrier: afterwards `heard` has everything that was complete before.
    pub async fn sync(&mut self) -> Result<()> {
        let client = self.client.clone();
        self.listening(client.sync()).await??;
        while let Ok(notice) = timeout(Duration::ZERO, self.upcalls.next()).await {
            self.heard.push(notice.context("the client has stopped")?);
        }
        Ok(())
    }

    /// The next notice, which is kept as well.
    pub async fn next(&mut self, what: &str) -> Result<Notice> {
        self.next_until(what, Instant::now() + patience()).await
    }

    async fn next_until(&mut self, what: &str, end: Instant) -> Result<Notice> {
        let notice = timeout_at(end, self.upcalls.next()).await;
        let notice = notice.with_context(|| format!("waited in vain for {what}; heard {:?}", self.last()))?;
        let notice = notice.context("the client has stopped")?;
        self.heard.push(notice.clone());
        Ok(notice)
    }

    /// Listens until what has been heard is enough; looks at it before it waits.
    pub async fn until(&mut self, what: &str, mut enough: impl FnMut(&[Notice]) -> bool) -> Result<()> {
        let end = Instant::now() + patience();
        while !enough(&self.heard) {
            self.next_until(what, end).await?;
        }
        Ok(())
    }

    /// Listens until an upcall of `cookie` has any of the bits.
    pub async fn until_told(&mut self, cookie: u64, bits: u32) -> Result<()> {
        self.until("an upcall", |heard| told(heard, cookie) & bits != 0).await
    }

    /// Waits until all that has been done so far has been told, then forgets what was heard.
    pub async fn rest(&mut self) -> Result<()> {
        self.rest_and_keep().await?;
        self.heard.clear();
        Ok(())
    }

    /// Waits until all that has been done so far has been told. For operators.
    pub async fn rest_and_keep(&mut self) -> Result<()> {
        self.sync().await?;
        let end = Instant::now() + patience();
        while !self.is_settled().await? {
            ensure!(Instant::now() < end, "the daemon does not come to rest");
            self.listening(sleep(LOOK)).await?;
        }
        self.sync().await
    }

    /// Whether nothing is still to be told, of no inode. For operators.
    pub async fn is_settled(&mut self) -> Result<bool> {
        let client = self.client.clone();
        let status: Value = serde_json::from_str(&self.listening(client.status()).await??)?;
        let unsettled = status.pointer("/hub/unsettled").context("status has no hub.unsettled")?;
        Ok(unsettled.as_u64() == Some(0))
    }

    /// Forgets what was heard up to now.
    pub async fn quiet(&mut self) -> Result<()> {
        self.sync().await?;
        self.heard.clear();
        Ok(())
    }

    /// That nothing has been heard.
    pub fn heard_nothing(&self) -> Result<()> {
        match self.heard.first() {
            None => Ok(()),
            Some(notice) => bail!("heard {notice:?}, which nobody should have told"),
        }
    }

    fn last(&self) -> &[Notice] {
        let from = self.heard.len().saturating_sub(4);
        self.heard.get(from..).unwrap_or_default()
    }
}

/// All change bits that the notices have for a cookie.
pub fn told(heard: &[Notice], cookie: u64) -> u32 {
    heard.iter().fold(0, |told, notice| match notice {
        Notice::Upcall { cookie: of, mask, .. } if *of == cookie => told | mask,
        _ => told,
    })
}

/// The cookies of all upcalls.
pub fn cookies(heard: &[Notice]) -> impl Iterator<Item = u64> {
    heard.iter().filter_map(|notice| match notice {
        Notice::Upcall { cookie, .. } => Some(*cookie),
        _ => None,
    })
}
