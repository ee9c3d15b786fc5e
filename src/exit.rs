//! Exit codes as a type, and the error that carries one.
//!
//! Owns the numbers that scripts depend on. A command returns `Ok(Exit)` or an error; [`Failure`] adds
//! a code and a hint to an error. A stop after the first signal is 0: only a second signal is 130 or
//! 143.

use std::error::Error;
use std::process::ExitCode;

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command did everything.
    Done = 0,
    /// Something failed, even if only one item of many.
    Failed = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// A check failed: pending, drift, not found.
    CheckFailed = 3,
    /// It was not confirmed in time; it may have happened.
    TimedOut = 4,
    /// Kafka, the database or the API cannot be reached.
    Unreachable = 5,
    /// A second SIGINT.
    Interrupted = 130,
    /// A second SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error with an exit code and a hint.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with a message of one sentence: lower case, no full stop, values in backticks, no
    /// secret.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// A command line or a configuration that cannot be used.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, which is printed after the message.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        self.source = Some(source.into());
        self
    }

    /// The failure in an error's chain, the outermost one when there are several.
    pub fn of(error: &anyhow::Error) -> Option<&Failure> {
        // `chain` shows a value attached by `context` under another type; `downcast_ref` finds those.
        let outermost = error.downcast_ref();
        outermost.or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

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
    fn a_failure_is_found_under_added_context() {
        let failure = Failure::new(Exit::TimedOut, "no answer").hint("try again");
        let error = anyhow::Error::new(failure).context("sending order `a`");
        let found = Failure::of(&error).unwrap();
        assert_eq!(found.exit, Exit::TimedOut);
        assert_eq!(found.hint.as_deref(), Some("try again"));
    }

    #[test]
    fn a_failure_attached_as_context_decides_over_its_cause() {
        let failed: Result<(), Failure> = Err(Failure::new(Exit::Unreachable, "no broker answers"));
        let error = failed
            .context(Failure::new(Exit::CheckFailed, "topics differ"))
            .unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().exit, Exit::CheckFailed);
    }

    #[test]
    fn a_failure_prints_its_cause_once_in_the_chain() {
        let failure = Failure::usage("reading topic `orders`").because("timed out");
        let printed = format!("{:#}", anyhow::Error::new(failure));
        assert_eq!(printed, "reading topic `orders`: timed out");
    }
}
