//! How a client comes to have something to keep, and gives it up.

use std::{fs::File, path::Path};

use anyhow::{Context, Result};
use upcall_client::{Code, Error, Registered, Watch};

use super::{
    cache::Entry,
    client::Client,
    disk::{self, Identity},
    plan::Fault,
    report::Broken,
    tree::Subject,
};
use crate::sys;

/// Most that are registered, or read, in one go.
const BATCH: usize = 24;

/// About to be watched.
struct Wanted {
    subject: Subject,
    cookie: u64,
    file: File,
    identity: Identity,
    by: By,
}

#[derive(PartialEq, Eq)]
enum By {
    Path,
    /// Its type and bytes. Not every filesystem has them.
    Handle(i32, Vec<u8>),
    Descriptor,
}

impl Client {
    pub(super) async fn register(&mut self) -> Result<()> {
        let room = (self.subjects.len() / 2).saturating_sub(self.cache.entries.len());
        let count = self.rng.usize(1..=BATCH).min(room);
        let wanted: Vec<_> = (0..count).filter_map(|_| self.choose()).collect();
        let watches: Vec<_> = wanted.iter().map(|it| self.watch(it)).collect::<Result<_>>()?;
        let connection = self.connection.clone();
        let outcomes = self.answer(async move { connection.register(watches).await }).await?;
        let outcomes = match outcomes {
            Err(Error::Disconnected | Error::NotReading | Error::TimedOut(_)) => return Ok(()),
            outcomes => outcomes.context("REGISTER failed")?,
        };
        let mut mistaken = Vec::new();
        for (wanted, outcome) in wanted.into_iter().zip(outcomes) {
            match outcome {
                Ok(made) => mistaken.extend(self.enter(wanted, made)),
                Err(error) => self.refused(&wanted, error.code)?,
            }
        }
        self.give_up(mistaken).await
    }

    pub(super) async fn unregister(&mut self) -> Result<()> {
        let count = self.rng.usize(1..4);
        let cookies: Vec<u64> = self.cache.entries.keys().copied().collect();
        let chosen = self.rng.choose_multiple(cookies, count);
        let entries = chosen.iter().filter_map(|cookie| self.cache.entries.remove(cookie));
        let interests = entries.map(|entry| entry.interest).collect();
        self.give_up(interests).await
    }

    /// Reads what is watched and not kept. Register, then read.
    pub(super) async fn fill(&mut self) -> Result<()> {
        if self.cache.in_doubt {
            return Ok(());
        }
        let mut gone = Vec::new();
        let mut interests = std::mem::take(&mut self.cache.useless);
        let empty = self.cache.entries.iter_mut().filter(|(_, entry)| entry.whole().is_none());
        for (cookie, entry) in empty.take(BATCH) {
            let path = self.tree.path(entry.subject);
            let there = disk::look(entry.held.as_ref(), &path, entry.identity, self.contents_only);
            entry.kept = match (entry.kept.take(), there) {
                (Some(kept), Some(there)) if entry.in_part => Some(kept.completed(there)),
                (_, there) => there,
            };
            entry.in_part = false;
            self.cache.counts.read += 1;
            if entry.kept.is_none() {
                gone.push(*cookie);
            }
        }
        let entries = gone.iter().filter_map(|cookie| self.cache.entries.remove(cookie));
        interests.extend(entries.map(|entry| entry.interest));
        self.give_up(interests).await
    }

    fn choose(&mut self) -> Option<Wanted> {
        let subject = self.rng.choice(self.subjects.iter().copied())?;
        let file = disk::open(&self.tree.path(subject))?;
        let identity = Identity::of(&file).ok()?;
        let by = match self.rng.u8(..4) {
            0 if self.unix => By::Descriptor,
            1 => sys::handle_of(&file).map_or(By::Path, |(kind, handle)| By::Handle(kind, handle)),
            _ => By::Path,
        };
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        Some(Wanted { subject, cookie, file, identity, by })
    }

    fn watch(&self, wanted: &Wanted) -> Result<Watch> {
        let path = self.tree.path(wanted.subject);
        Ok(match &wanted.by {
            By::Descriptor => Watch::descriptor(wanted.file.try_clone()?, wanted.cookie),
            By::Handle(kind, handle) => Watch::handle(self.tree.root(), *kind, handle.clone(), wanted.cookie),
            By::Path => Watch::path(path, wanted.cookie),
        })
    }

    /// Another inode may have taken the name before it was registered: then the interest is returned.
    fn enter(&mut self, wanted: Wanted, made: Registered) -> Option<u64> {
        let Wanted { subject, cookie, file, identity, by } = wanted;
        if by == By::Path && !is_at(&self.tree.path(subject), identity) {
            return Some(made.interest);
        }
        self.cache.counts.registered += 1;
        let held = (self.contents_only || self.rng.bool()).then_some(file);
        let Registered { interest, version, .. } = made;
        let by_path = by == By::Path;
        let entry = Entry {
            subject,
            interest,
            identity,
            by_path,
            held,
            version,
            kept: None,
            in_part: false,
            last: String::new(),
        };
        self.cache.entries.insert(cookie, entry);
        None
    }

    fn refused(&mut self, wanted: &Wanted, code: Code) -> Result<()> {
        self.cache.counts.refused += 1;
        match code {
            Code::NoSlots if self.plan.has(Fault::Slots) => self.cache.counts.no_slots += 1,
            // It went away meanwhile, or something else took its place.
            Code::NotFound | Code::StaleHandle | Code::BadTarget => {}
            // Over TCP one is nobody, who may not read everything.
            Code::NotPermitted if !self.unix => {}
            // By a handle it is found under one of its links, which may just have been removed. An operator needs none.
            Code::NotExported if !self.unix && matches!(wanted.by, By::Handle(..)) => {}
            // What has been removed is in no export, and what took its place may be no file.
            Code::NotExported | Code::Unsupported
                if !is_at(&self.tree.path(wanted.subject), wanted.identity) => {}
            _ => {
                let path = self.tree.path(wanted.subject);
                let details = format!("{}: {code}: {}", path.display(), code.meaning());
                self.find(Broken::Refused, Some(wanted.subject.stage), details)?;
            }
        }
        Ok(())
    }

    async fn give_up(&mut self, interests: Vec<u64>) -> Result<()> {
        if interests.is_empty() {
            return Ok(());
        }
        let connection = self.connection.clone();
        // An interest may have ended meanwhile, or all may end with the connection.
        let _ = self.answer(async move { connection.unregister(interests).await }).await?;
        Ok(())
    }
}

fn is_at(path: &Path, identity: Identity) -> bool {
    disk::open(path).and_then(|file| Identity::of(&file).ok()).is_some_and(|there| there == identity)
}
