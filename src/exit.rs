//! Exit codes as a type, and the error that carries one.
//!
//! Owns the numbers that scripts rely on (design: "Command line") and the rule by which an error
//! finds its number. A command returns `Ok(Exit)` or an error; to give an error a code and a hint,
//! wrap it in [`Failure`]. Errors of the configuration, and outages that the log or the store report
//! with their types, find their code without one. The surprising thing: a first signal that was
//! drained is 0, so only a second signal ever gives 130 or 143.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::event_log::LogError;
use crate::store::StoreError;

/// What to do when others held what was needed.
const IN_USE: &str = "end what uses it, or try again later";

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed, be it one item of many.
    Failed = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// A check said no: pending, drift, not found.
    CheckFailed = 3,
    /// Nothing confirmed it in time; it may have happened.
    TimedOut = 4,
    /// Kafka, the database or the API cannot be reached.
    Unreachable = 5,
    /// A second SIGINT.
    Interrupted = 130,
    /// A second SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error with the exit code it deserves and, where there is one, what to do about it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure said in one sentence: lower case, no full stop, values in backticks, no secret.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// What the reader can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// What caused it; printed after the message.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// The code and the hint of an error: what its outermost [`Failure`] says, else what the types in
/// its chain tell, else [`Exit::Failed`].
pub fn of(error: &anyhow::Error) -> (Exit, Option<&str>) {
    // `chain` shows a value attached by `context` under another type; `downcast_ref` finds those.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return (failure.exit, failure.hint.as_deref());
    }
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        return (Exit::Usage, config.hint());
    }
    error
        .chain()
        .find_map(of_cause)
        .unwrap_or((Exit::Failed, None))
}

fn of_cause<'a>(cause: &'a (dyn Error + 'static)) -> Option<(Exit, Option<&'a str>)> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some((failure.exit, failure.hint.as_deref()));
    }
    if let Some(config) = cause.downcast_ref::<ConfigError>() {
        return Some((Exit::Usage, config.hint()));
    }
    match cause.downcast_ref::<StoreError>() {
        Some(StoreError::Unavailable(_)) => return Some((Exit::Unreachable, None)),
        // Who reports contention has tried until its time was over.
        Some(StoreError::Contended(_)) => return Some((Exit::TimedOut, Some(IN_USE))),
        _ => {}
    }
    match cause.downcast_ref::<LogError>() {
        Some(LogError::Unavailable(_)) => Some((Exit::Unreachable, None)),
        Some(LogError::NotFound(_) | LogError::Refused(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn unavailable() -> LogError {
        LogError::Unavailable("no broker answers".into())
    }

    #[test]
    fn the_numbers_are_those_that_scripts_rely_on() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::CheckFailed,
            Exit::TimedOut,
            Exit::Unreachable,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 130, 143]);
    }

    #[test]
    fn a_failure_keeps_its_code_and_hint_under_added_context() {
        let failure = Failure::new(Exit::TimedOut, "no answer").hint("try again");
        let error = anyhow::Error::new(failure).context("sending order `a`");
        assert_eq!(of(&error), (Exit::TimedOut, Some("try again")));
    }

    #[test]
    fn a_failure_attached_as_context_decides_over_its_cause() {
        let failed: Result<(), LogError> = Err(unavailable());
        let error = failed
            .context(Failure::new(Exit::CheckFailed, "topics differ"))
            .unwrap_err();
        assert_eq!(of(&error), (Exit::CheckFailed, None));
    }

    #[test]
    fn an_outage_is_unreachable_and_any_other_error_is_a_plain_failure() {
        let of_log = |error| of(&anyhow::Error::new(error).context("asking the log")).0;
        assert_eq!(of_log(unavailable()), Exit::Unreachable);
        assert_eq!(of_log(LogError::Refused("denied".into())), Exit::Failed);
        let store = anyhow::Error::new(StoreError::Unavailable("connection refused".into()));
        assert_eq!(of(&store).0, Exit::Unreachable);
        let store = anyhow::Error::new(StoreError::Contended("lock timeout".into()));
        assert_eq!(of(&store), (Exit::TimedOut, Some(IN_USE)));
        assert_eq!(of(&anyhow::anyhow!("no")).0, Exit::Failed);
    }

    #[test]
    fn a_failure_prints_its_cause_once_in_the_chain() {
        let failure =
            Failure::new(Exit::Unreachable, "reading topic `orders`").because("timed out");
        assert_eq!(
            format!("{:#}", anyhow::Error::new(failure)),
            "reading topic `orders`: timed out"
        );
    }
}
