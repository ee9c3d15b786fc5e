//! One file a subcommand, named like it: its `Args` and its `run`.
//!
//! A `run` reads as a short story: settle the configuration, open what is needed, do the thing,
//! report. Nothing below this layer sees flags or environment.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Environment;
use crate::output::Output;

pub mod completions;
pub mod consume;
pub mod create_topics;
pub mod export;
pub mod get;
pub mod migrate;
mod open;
pub mod send;
pub mod serve_api;
pub mod up;

/// What every command is given: where settings come from and where words go.
pub struct Context {
    pub environment: Environment,
    pub output: Output,
}

/// How often what is away is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often a wait is mentioned on stderr.
const MENTION: Duration = Duration::from_secs(5);

/// Repeats `attempt` while its error says that `what` is away, for at most `within`; gives back the
/// first success, the first other error, or the last outage. Says on stderr that it waits.
fn wait_for<T, E: Display>(
    output: &Output,
    what: &str,
    within: Duration,
    is_away: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + within;
    let mut mentioned: Option<Instant> = None;
    loop {
        let error = match attempt() {
            Err(error) if is_away(&error) => error,
            decided => return decided,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(error);
        }
        if mentioned.is_none_or(|at| at.elapsed() >= MENTION) {
            output.say(&format!(
                "waiting for {what}, up to {} s more: {error}",
                left.as_secs_f32().ceil()
            ));
            mentioned = Some(Instant::now());
        }
        thread::sleep(RETRY.min(left));
    }
}

#[cfg(test)]
mod tests {
    use crate::output::{Format, Verbosity};

    use super::*;

    fn wait(within: Duration, mut answers: Vec<Result<u8, &str>>) -> Result<u8, &str> {
        let output = Output::new(Format::Table, Verbosity::Quiet);
        let is_away = |error: &&str| *error == "away";
        wait_for(&output, "it", within, is_away, || answers.remove(0))
    }

    #[test]
    fn a_wait_ends_with_the_first_answer() {
        let answers = vec![Err("away"), Ok(1)];
        assert_eq!(wait(Duration::from_secs(30), answers), Ok(1));
    }

    #[test]
    fn a_refusal_is_not_waited_for() {
        let answers = vec![Err("wrong password")];
        let waited = wait(Duration::from_secs(30), answers);
        assert_eq!(waited, Err("wrong password"));
    }

    #[test]
    fn at_the_limit_the_outage_is_the_answer() {
        assert_eq!(wait(Duration::ZERO, vec![Err("away")]), Err("away"));
    }
}
