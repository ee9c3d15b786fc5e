//! One file a subcommand, named like it: its `Args` and its `run`.
//!
//! A `run` reads as a short story: settle the configuration, open what is needed, do the thing,
//! report. Nothing below this layer sees flags or environment.

use std::error::Error;
use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::event_log::LogError;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::store::StoreError;

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

/// What every command is given.
pub struct Context {
    pub settings: Settings,
    pub output: Output,
}

/// The exit code and the hint of an error: those of the outermost [`Failure`] in its chain, else by
/// the type of its cause.
pub fn exit_of(error: &anyhow::Error) -> (Exit, Option<&str>) {
    if let Some(failure) = Failure::of(error) {
        return (failure.exit, failure.hint.as_deref());
    }
    error
        .chain()
        .find_map(exit_of_cause)
        .unwrap_or((Exit::Failed, None))
}

fn exit_of_cause<'a>(cause: &(dyn Error + 'static)) -> Option<(Exit, Option<&'a str>)> {
    match cause.downcast_ref() {
        Some(StoreError::Unavailable(_)) => return Some((Exit::Unreachable, None)),
        // It was retried until its time was over.
        Some(StoreError::Contended(_)) => {
            return Some((Exit::TimedOut, Some("end what uses it, or try again later")));
        }
        _ => {}
    }
    match cause.downcast_ref() {
        Some(LogError::Unavailable(_)) => Some((Exit::Unreachable, None)),
        Some(LogError::NotFound(_) | LogError::Refused(_)) | None => None,
    }
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
            output.info(&format!(
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
    fn an_outage_is_unreachable_and_any_other_error_is_a_plain_failure() {
        let of_log = |error| exit_of(&anyhow::Error::new(error).context("asking the log")).0;
        let unavailable = LogError::Unavailable("no broker answers".into());
        assert_eq!(of_log(unavailable), Exit::Unreachable);
        assert_eq!(of_log(LogError::Refused("denied".into())), Exit::Failed);
        let store = anyhow::Error::new(StoreError::Unavailable("connection refused".into()));
        assert_eq!(exit_of(&store).0, Exit::Unreachable);
        let store = anyhow::Error::new(StoreError::Contended("lock timeout".into()));
        let (exit, hint) = exit_of(&store);
        assert_eq!(exit, Exit::TimedOut);
        assert!(hint.is_some());
        assert_eq!(exit_of(&anyhow::anyhow!("no")).0, Exit::Failed);
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
