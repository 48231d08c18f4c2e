//! Stages of a run: announced, timed, and reported together at the end.

use std::time::{Duration, Instant};

use anyhow::Result;

/// A stage that has ended; `T` is what it yields when it could run.
pub(crate) struct Stage<T> {
    pub(crate) name: String,
    pub(crate) result: Result<T>,
    pub(crate) took: Duration,
}

impl<T> Stage<T> {
    /// Says what begins, does it, and says how long it took.
    pub(crate) fn run(name: impl Into<String>, work: impl FnOnce() -> Result<T>) -> Self {
        let name = name.into();
        println!("==> {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        match &result {
            Ok(_) => println!("<== {name}: {:.1} s", took.as_secs_f64()),
            Err(error) => println!("<== {name}: {:.1} s: {error:#}", took.as_secs_f64()),
        }
        Self { name, result, took }
    }

    /// One line for the table at the end.
    pub(crate) fn line(&self, shown: impl FnOnce(&T) -> String) -> String {
        let outcome = match &self.result {
            Ok(value) => shown(value),
            Err(error) => format!("failed: {error:#}"),
        };
        format!("  {:<12} {:>7.1} s  {outcome}", self.name, self.took.as_secs_f64())
    }
}
