//! Timeouts that a test may shorten, so that no test waits as long as production does.
//!
//! `ORDERS_TEST_TIMEOUTS=NAME=TIME,…` replaces some for the whole process, which logs a warning
//! when it starts. Otherwise the values are those of [`PRODUCTION`].

use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// The variable that replaces timeouts.
pub const VARIABLE: &str = "ORDERS_TEST_TIMEOUTS";

/// How long the services wait before they give something up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A lane without an answer of its database is abandoned, with its thread and its connection: a
    /// frozen server acknowledges packets on, so no socket timeout ends the wait.
    pub lane: Duration,
    /// A position past the end of the log: from then on the log counts as truncated.
    pub truncation: Duration,
    /// The Kafka client requests metadata this often, and so finds new partitions.
    pub metadata: Duration,
    /// A database that accepts a connection and answers nothing.
    pub handshake: Duration,
    /// A question to the brokers.
    pub request: Duration,
}

const PRODUCTION: Timeouts = Timeouts {
    lane: Duration::from_secs(45),
    truncation: Duration::from_secs(60),
    metadata: Duration::from_secs(30),
    handshake: Duration::from_secs(15),
    request: Duration::from_secs(5),
};

/// Those of a command that only looks: it ends within two seconds while its servers are away.
const LOOK: Timeouts = Timeouts {
    handshake: Duration::from_millis(1_500),
    request: Duration::from_millis(1_500),
    ..PRODUCTION
};

static REPLACED: OnceLock<Timeouts> = OnceLock::new();

/// The timeouts of this process.
pub fn timeouts() -> &'static Timeouts {
    REPLACED.get().unwrap_or(&PRODUCTION)
}

/// Uses the timeouts of a command that only looks, from now on.
pub fn look() {
    REPLACED.get_or_init(|| LOOK);
}

/// Replaces the timeouts of this process; only the first call counts.
pub fn replace(timeouts: Timeouts) {
    tracing::warn!("{VARIABLE} is set: {timeouts:?}");
    REPLACED.get_or_init(|| timeouts);
}

impl FromStr for Timeouts {
    /// What is expected instead.
    type Err = String;

    fn from_str(text: &str) -> Result<Timeouts, String> {
        let mut timeouts = PRODUCTION;
        for entry in text.split(',') {
            let (name, time) = entry.split_once('=').ok_or_else(expected)?;
            let timeout = match name {
                "lane" => &mut timeouts.lane,
                "truncation" => &mut timeouts.truncation,
                "metadata" => &mut timeouts.metadata,
                "handshake" => &mut timeouts.handshake,
                _ => return Err(expected()),
            };
            let milliseconds = time.strip_suffix("ms").and_then(|time| time.parse().ok());
            *timeout = milliseconds
                .map(Duration::from_millis)
                .ok_or_else(expected)?;
        }
        Ok(timeouts)
    }
}

fn expected() -> String {
    "NAME=TIME,… such as `lane=3000ms`, where NAME is one of lane, truncation, metadata, handshake"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_that_are_not_named_keep_their_value() {
        let replaced: Timeouts = "lane=3000ms,metadata=200ms"
            .parse()
            .expect("it is well formed");
        let expected = Timeouts {
            lane: Duration::from_secs(3),
            metadata: Duration::from_millis(200),
            ..PRODUCTION
        };
        assert_eq!(replaced, expected);
    }

    #[test]
    fn malformed_timeouts_are_refused() {
        for text in ["", "lane", "lane=", "lane=3", "lanes=3ms", "lane=3ms,"] {
            assert!(text.parse::<Timeouts>().is_err(), "{text}");
        }
    }
}
