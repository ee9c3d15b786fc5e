//! Waits for a log or a database that does not respond yet, and describes outages.
//!
//! Owns how long a command waits, what it prints meanwhile, and the error with its hint.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::commands::Context;
use crate::config::LogSettings;
use crate::event_log::LogError;
use crate::exit::{Exit, Failure};
use crate::migrations::{self, SchemaState};
use crate::output::Output;
use crate::store::{AppliedMigration, StoreEngine, StoreError};
use crate::timeouts;

/// The hint when a log does not respond. The error has the client's reason: that may be a setting.
pub const LOG_HINT: &str =
    "check that it runs, and KAFKA_BROKERS and KAFKA_PROPERTIES; wait longer with --wait";

const STORE_HINT: &str = "start it, name another in DB_URL, or wait longer with --wait";

/// How long a command that changes something waits for its servers.
const CHANGE_WAIT: Duration = Duration::from_secs(30);

/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How often a wait is reported on stderr.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait for a server: as requested, else 30 s. A command that only looks makes one attempt,
/// of two seconds at most: its user wants to know how it is now.
pub fn wait(requested: Option<Duration>, only_looks: bool) -> Duration {
    requested.unwrap_or_else(|| {
        if only_looks {
            timeouts::look();
            return Duration::ZERO;
        }
        CHANGE_WAIT
    })
}

/// Repeats `attempt` while the log is unavailable, for at most `within`.
pub fn to_log<T>(
    settings: &LogSettings,
    hint: &str,
    within: Duration,
    context: &Context,
    attempt: impl FnMut() -> Result<T, LogError>,
) -> anyhow::Result<T> {
    let target = Target {
        name: settings.describe(),
        hint,
    };
    target.connect(within, &context.output, LogError::is_unavailable, attempt)
}

/// Repeats `attempt` while the database is unavailable, for at most `within`.
pub fn to_store<T>(
    engine: &dyn StoreEngine,
    within: Duration,
    context: &Context,
    attempt: impl FnMut() -> Result<T, StoreError>,
) -> anyhow::Result<T> {
    let target = Target {
        name: format!("the database `{}`", engine.describe()),
        hint: STORE_HINT,
    };
    let is_unavailable = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
    target.connect(within, &context.output, is_unavailable, attempt)
}

/// A log or a database, in messages.
struct Target<'a> {
    name: String,
    hint: &'a str,
}

impl Target<'_> {
    /// The first success. Any error but an outage ends the wait.
    fn connect<T, E: Error + Send + Sync + 'static>(
        &self,
        within: Duration,
        output: &Output,
        is_unavailable: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> anyhow::Result<T> {
        let name = &self.name;
        let deadline = Instant::now() + within;
        let mut reported: Option<Instant> = None;
        loop {
            let error = match attempt() {
                Ok(connected) => return Ok(connected),
                Err(error) if is_unavailable(&error) => error,
                Err(error) => {
                    return Err(anyhow::Error::new(error).context(format!("connecting to {name}")));
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = match within.is_zero() {
                    true => format!("no response from {name}"),
                    false => format!("no response from {name} within {} s", within.as_secs_f32()),
                };
                let failure = Failure::new(Exit::Unreachable, message).because(error);
                return Err(failure.hint(self.hint).into());
            }
            if reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                let seconds = left.as_secs_f32().ceil();
                output.info(&format!(
                    "waiting for {name}, up to {seconds} s more: {error}"
                ));
                reported = Some(Instant::now());
            }
            thread::sleep(RETRY_PAUSE.min(left));
        }
    }
}

/// Refuses a database whose migrations are not those of this program.
pub fn check_schema(applied: &[AppliedMigration]) -> anyhow::Result<()> {
    let (message, hint) = match migrations::state(applied) {
        SchemaState::Current => return Ok(()),
        SchemaState::Pending(_) => (
            "the database lacks tables, or columns of them",
            "run `orders migrate`",
        ),
        SchemaState::Newer => (
            "the database has migrations that this program does not know",
            "use the program that applied them",
        ),
    };
    Err(Failure::new(Exit::CheckFailed, message).hint(hint).into())
}

/// The failure when the API cannot be used.
pub fn api_failure(error: &ClientError, doing: &str) -> anyhow::Error {
    let (exit, hint) = match error {
        ClientError::Denied { status: 401, .. } => (
            Exit::Usage,
            "set ORDERS_TOKEN or ORDERS_TOKEN_FILE; `orders token` makes a token",
        ),
        ClientError::Denied { .. } => (Exit::Usage, "ask those who run the API"),
        ClientError::Unreachable { .. } | ClientError::NotTheApi { .. } => (
            Exit::Unreachable,
            "start it with `orders serve-api`, or name another with --api-url or ORDERS_API_URL",
        ),
    };
    Failure::new(exit, format!("{doing}: {error}"))
        .hint(hint)
        .into()
}

#[cfg(test)]
mod tests {
    use crate::output::{Format, Verbosity};

    use super::*;

    fn connect(within: Duration, mut answers: Vec<Result<u8, LogError>>) -> anyhow::Result<u8> {
        let output = Output::new(Format::Table, Verbosity::Quiet);
        let target = Target {
            name: "it".into(),
            hint: "start it",
        };
        let attempt = || answers.remove(0);
        target.connect(within, &output, LogError::is_unavailable, attempt)
    }

    fn unavailable() -> Result<u8, LogError> {
        Err(LogError::Unavailable("refused".into()))
    }

    #[test]
    fn the_first_success_ends_the_wait() {
        let answers = vec![unavailable(), Ok(1)];
        assert_eq!(connect(Duration::from_secs(30), answers).unwrap(), 1);
    }

    #[test]
    fn an_error_that_is_no_outage_ends_the_wait() {
        let answers = vec![Err(LogError::Refused("denied".into()))];
        let error = connect(Duration::from_secs(30), answers).unwrap_err();
        assert_eq!(format!("{error}"), "connecting to it");
        assert!(Failure::of(&error).is_none());
    }

    #[test]
    fn an_outage_at_the_deadline_is_unreachable_and_has_a_hint() {
        let error = connect(Duration::ZERO, vec![unavailable()]).unwrap_err();
        assert_eq!(error.to_string(), "no response from it");
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(failure.hint.as_deref(), Some("start it"));
    }
}
