//! Classifies the errors of the client: what each means for the consumer.

use std::error::Error as _;
use std::io;

use ::postgres::Error as PgError;
use ::postgres::error::SqlState;

use super::session::POOLER;
use crate::store::StoreError;

/// A failed statement, by its SQLSTATE. What is in no list is [`StoreError::Misconfigured`]:
/// stopping is harmless, losing data is not.
impl From<PgError> for StoreError {
    fn from(error: PgError) -> StoreError {
        let Some(db_error) = error.as_db_error() else {
            let reason = chain(&error);
            return if is_network_error(&error) {
                StoreError::Unavailable(reason)
            } else {
                // A value that cannot be encoded: it never left this process.
                StoreError::Rejected(reason)
            };
        };
        let code = db_error.code().code();
        let reason = format!("{} (SQLSTATE {code})", db_error.message());
        match code {
            "40001" | "40P01" | "55P03" | "57014" => StoreError::Contended(reason),
            "22001" | "22003" | "22007" | "22008" | "22021" | "22P02" | "23514" => {
                StoreError::Rejected(reason)
            }
            "25006" => StoreError::Unavailable(reason),
            _ if ["08", "53", "57P", "58", "25P"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                StoreError::Unavailable(reason)
            }
            _ => StoreError::Misconfigured(reason),
        }
    }
}

/// A failed connection attempt: an error that is not the network's is one of the configuration.
pub(super) fn connect_error(error: PgError, address: &str) -> StoreError {
    let at = |reason: String| format!("{reason} (at `{address}`)");
    if let Some(db_error) = error.as_db_error()
        && *db_error.code() == SqlState::PROTOCOL_VIOLATION
    {
        // PostgreSQL takes every setting of a session; PgBouncer answers with this code.
        let reason = format!("{}: {POOLER}", db_error.message());
        return StoreError::Misconfigured(at(reason));
    }
    match StoreError::from(error) {
        StoreError::Unavailable(reason) => StoreError::Unavailable(at(reason)),
        StoreError::Contended(reason) => StoreError::Contended(at(reason)),
        StoreError::Rejected(reason) | StoreError::Misconfigured(reason) => {
            StoreError::Misconfigured(at(reason))
        }
        fenced @ StoreError::Fenced(_) => fenced,
    }
}

/// One error for several servers: an outage if one of them is, since that one may end.
pub(super) fn all_of(failures: Vec<StoreError>) -> StoreError {
    let is_outage =
        |error: &StoreError| matches!(error, StoreError::Unavailable(_) | StoreError::Contended(_));
    let is_unavailable = failures.iter().any(is_outage);
    let mut reasons: Vec<String> = Vec::new();
    for failure in failures {
        let reason = match failure {
            StoreError::Unavailable(reason)
            | StoreError::Contended(reason)
            | StoreError::Rejected(reason)
            | StoreError::Misconfigured(reason) => reason,
            fenced @ StoreError::Fenced(_) => fenced.to_string(),
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    match is_unavailable {
        true => StoreError::Unavailable(reasons.join("; ")),
        false => StoreError::Misconfigured(reasons.join("; ")),
    }
}

fn is_network_error(error: &PgError) -> bool {
    error.is_closed() || error.source().is_none_or(|source| source.is::<io::Error>())
}

/// The error with its causes, none repeated.
fn chain(error: &PgError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
