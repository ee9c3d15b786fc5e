//! What every session is set to, and the check that it is.
//!
//! The settings are sent when a connection is opened. A pooler that shares connections of its own among
//! sessions drops them, and would mix up locks and prepared statements: it is refused before anything
//! is set or written through it.

use crate::store::StoreError;

/// Server-side settings of a connection. The limits do not help against a server that stopped
/// responding: the consumer abandons such a lane. Without `jit=off` the server compiles a query
/// whose estimated cost is high, as on tables without statistics, at each execution: 30 ms and more
/// for a lookup that runs for 0.2 ms. The last one shows that the others have arrived.
const SETTINGS: &str = "-c statement_timeout=30000 -c lock_timeout=10000 \
     -c idle_in_transaction_session_timeout=30000 -c timezone=UTC -c synchronous_commit=on \
     -c jit=off -c orders.session=on";

/// Changes nothing, so that nothing is left behind in a pool.
pub(super) const CHECK: &str = "SELECT current_setting('orders.session', true)";

/// What a user reads who has put a pooler in between.
pub(super) const POOLER: &str = "a connection pooler such as PgBouncer is in between, and `orders` \
     needs sessions of its own (it keeps a few for as long as it runs): connect to PostgreSQL itself";

/// The options of a connection: those of the URL, then ours, so that no promise depends on the URL.
pub(super) fn options(given: Option<&str>) -> String {
    match given {
        Some(given) => format!("{given} {SETTINGS}"),
        None => SETTINGS.to_owned(),
    }
}

/// Judges the answer to [`CHECK`].
pub(super) fn check(answer: Option<&str>, address: &str) -> Result<(), StoreError> {
    match answer {
        Some("on") => Ok(()),
        _ => Err(StoreError::Misconfigured(format!(
            "the settings of the session do not reach the server: {POOLER} (at `{address}`)"
        ))),
    }
}
