//! Several pieces of work at a time.

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{stage::Stage, summary::Summary};

/// A stage to be run.
pub(crate) type Work = Box<dyn FnOnce() -> Stage<Summary> + Send>;

/// Runs stages side by side, one a processor: each leaves all but one idle most of the time. The first are begun first.
pub(crate) fn run(works: Vec<Work>) -> Vec<Stage<Summary>> {
    let width = thread::available_parallelism().map_or(1, NonZero::get);
    map(works, width, |work| work())
}

/// Works on all items, at most `width` at a time; the results are in the order of the items.
fn map<T: Send, R: Send>(items: Vec<T>, width: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let width = width.min(items.len());
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, item)) = next else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let together = Barrier::new(2);
        let doubled = map(vec![3, 1, 2, 0], 2, |number| {
            // Passed only if two are at work.
            together.wait();
            thread::sleep(Duration::from_millis(number));
            number * 2
        });
        assert_eq!(doubled, [6, 2, 4, 0]);
    }

    #[test]
    fn no_more_than_the_width_are_worked_on() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        map((0..20).collect(), 3, |_: u32| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert!((1..=3).contains(&most.into_inner()));
    }

    #[test]
    fn nothing_to_do_is_done() {
        assert!(map(Vec::new(), 2, |(): ()| ()).is_empty());
    }
}
