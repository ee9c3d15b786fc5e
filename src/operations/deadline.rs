//! Asks several sources at once, each on a thread of its own and with a deadline.
//!
//! Ask all of them first, then take the answers: together that lasts as long as one deadline.
//!
//! # Invariants
//!
//! - A source that hangs or panics is a value, never a wait and never a panic of the caller.
//! - At most [`MAX_THREADS`] threads exist. Those of sources that hang stay until they return or the
//!   process ends, so a command that asks again and again does not collect them without end.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a source of an operators' command may take.
pub const SOURCE_TIMEOUT: Duration = Duration::from_millis(800);

/// How many sources may be without an answer at once.
pub const MAX_THREADS: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Why a source has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// What it panicked with is on stderr.
    #[error("failed unexpectedly")]
    Panicked,
    #[error("was not asked: {0}")]
    NotAsked(String),
}

/// The answer of a source that is being asked.
#[must_use = "the answer is taken with `wait`"]
pub struct Pending<T> {
    answer: Result<Receiver<T>, NoAnswer>,
    timeout: Duration,
    deadline: Instant,
}

/// Starts to ask a source, which may take [`SOURCE_TIMEOUT`]. Does not block.
pub fn ask<T: Send + 'static>(source: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
    ask_within(SOURCE_TIMEOUT, source)
}

/// As [`ask`], with another timeout.
pub fn ask_within<T: Send + 'static>(
    timeout: Duration,
    source: impl FnOnce() -> T + Send + 'static,
) -> Pending<T> {
    Pending {
        answer: start(&THREADS, source),
        timeout,
        deadline: Instant::now() + timeout,
    }
}

impl<T> Pending<T> {
    /// Blocks until the source has answered, at most until its deadline.
    pub fn wait(self) -> Result<T, NoAnswer> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let received = self.answer?.recv_timeout(left);
        received.map_err(|error| match error {
            RecvTimeoutError::Timeout => NoAnswer::TimedOut(self.timeout),
            // The thread ended without an answer.
            RecvTimeoutError::Disconnected => NoAnswer::Panicked,
        })
    }
}

/// The answer of a source that may fail, or why there is none: what follows its name in a sentence.
pub fn flatten<T, E: Display>(answer: Result<Result<T, E>, NoAnswer>) -> Result<T, String> {
    match answer {
        Ok(answer) => answer.map_err(|error| format!("failed: {error}")),
        Err(no_answer) => Err(no_answer.to_string()),
    }
}

fn start<T: Send + 'static>(
    threads: &'static AtomicUsize,
    source: impl FnOnce() -> T + Send + 'static,
) -> Result<Receiver<T>, NoAnswer> {
    let counted = Counted::new(threads)?;
    let (answer, receiver) = mpsc::channel();
    let thread = move || {
        let _counted = counted;
        // The caller may have given up.
        let _ = answer.send(source());
    };
    thread::Builder::new()
        .name("source".into())
        .spawn(thread)
        .map_err(|error| NoAnswer::NotAsked(format!("starting a thread: {error}")))?;
    Ok(receiver)
}

/// Counts a thread for as long as it exists.
struct Counted(&'static AtomicUsize);

impl Counted {
    fn new(threads: &'static AtomicUsize) -> Result<Counted, NoAnswer> {
        let count = threads.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(threads);
        if count >= MAX_THREADS {
            let why = format!("{MAX_THREADS} earlier questions are still without an answer");
            return Err(NoAnswer::NotAsked(why));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);

    /// A source that never answers.
    fn hang() {
        loop {
            thread::park();
        }
    }

    #[test]
    fn sources_that_hang_cost_one_deadline_together_and_hide_no_answer() {
        let began = Instant::now();
        let hanging = [(); 3].map(|()| ask_within(TIMEOUT, hang));
        let answering = ask_within(TIMEOUT, || 7);
        for pending in hanging {
            assert_eq!(pending.wait(), Err(NoAnswer::TimedOut(TIMEOUT)));
        }
        // Its answer was there in time, however late it is taken.
        assert_eq!(answering.wait(), Ok(7));
        assert!(began.elapsed() < TIMEOUT * 2, "{:?}", began.elapsed());
    }

    #[test]
    fn an_answer_is_not_waited_for_longer_than_it_takes() {
        let began = Instant::now();
        assert_eq!(ask_within(Duration::from_secs(60), || 7).wait(), Ok(7));
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_source_that_panics_is_a_value_at_once() {
        let pending = ask_within(Duration::from_secs(60), || panic!("a test panics"));
        let answer: Result<(), NoAnswer> = pending.wait();
        assert_eq!(answer, Err(NoAnswer::Panicked));
    }

    #[test]
    fn threads_of_sources_that_hang_are_bounded_and_counted_until_they_end() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let (release, released) = mpsc::channel::<()>();
        let first = start(&THREADS, move || released.recv()).unwrap();
        let mut others = (1..MAX_THREADS).map(|_| start(&THREADS, hang));
        assert!(others.all(|started| started.is_ok()));
        let refused = start(&THREADS, || 7).unwrap_err();
        let expected = "was not asked: 64 earlier questions are still without an answer";
        assert_eq!(refused.to_string(), expected);

        drop(release);
        assert!(first.recv_timeout(Duration::from_secs(30)).is_ok());
        // The thread ends a moment after its answer.
        let deadline = Instant::now() + Duration::from_secs(30);
        while start(&THREADS, || 7).is_err() {
            assert!(Instant::now() < deadline, "the thread is still counted");
            thread::yield_now();
        }
    }

    #[test]
    fn a_missing_answer_says_why() {
        let timed_out = NoAnswer::TimedOut(SOURCE_TIMEOUT).to_string();
        assert_eq!(timed_out, "did not answer within 800 ms");
    }
}
