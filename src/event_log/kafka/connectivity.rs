//! Whether the cluster responds, as all clients of this process see it: one log line when that
//! changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::broker_watchdog::BrokerWatchdog;
use crate::event_log::LogError;
use crate::sync::lock;

/// Clients reconnect one after the other: an error of the last one does not outweigh a response that
/// the first one has received within this time. A lasting outage is reported once a second.
const RESPONSE_TTL_MS: u64 = 3_000;

/// librdkafka does not repeat an error within 30 s.
const REASON_TTL: Duration = Duration::from_secs(40);

/// A broker can send any reason.
const MAX_REASON_CHARS: usize = 300;

/// Shared by all clients. Every acknowledgement and every record followed passes here, so it is two
/// plain stores and loads.
pub(super) struct KafkaConnectivity {
    created: Instant,
    is_lost: AtomicBool,
    /// Milliseconds after `created`; 0: not yet.
    responded_at_ms: AtomicU64,
    /// Why a connection of a client failed last, and when.
    last_error: Mutex<Option<(Instant, String)>>,
}

impl Default for KafkaConnectivity {
    fn default() -> KafkaConnectivity {
        KafkaConnectivity {
            created: Instant::now(),
            is_lost: AtomicBool::new(false),
            responded_at_ms: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }
}

impl KafkaConnectivity {
    /// A client cannot reach the cluster.
    fn failed(&self, reason: &str) {
        let responded_at_ms = self.responded_at_ms.load(Ordering::Relaxed);
        let responded_lately =
            responded_at_ms > 0 && self.now_ms() < responded_at_ms + RESPONSE_TTL_MS;
        if !responded_lately && !self.is_lost.swap(true, Ordering::Relaxed) {
            // The event may only say that all brokers are down.
            let why = self.recent_error();
            let reason = why.as_deref().unwrap_or(reason);
            tracing::warn!(reason, "kafka is unreachable, retrying");
        }
    }

    /// A broker has responded to a client.
    pub(super) fn responded(&self) {
        self.responded_at_ms.store(self.now_ms(), Ordering::Relaxed);
        if self.is_lost.load(Ordering::Relaxed) && self.is_lost.swap(false, Ordering::Relaxed) {
            tracing::info!("kafka responds again");
        }
    }

    /// A connection of a client has failed, and the client goes on retrying.
    fn record(&self, reason: &str) {
        let mut text: String = reason.chars().take(MAX_REASON_CHARS).collect();
        if let Some(remedy) = remedy(reason) {
            text += ": ";
            text += remedy;
        }
        *lock(&self.last_error) = Some((Instant::now(), text));
    }

    fn recent_error(&self) -> Option<String> {
        let last = lock(&self.last_error);
        let recent = last.as_ref().filter(|(at, _)| at.elapsed() < REASON_TTL);
        recent.map(|(_, reason)| reason.clone())
    }

    /// Adds to an outage why a client could not reach a broker.
    pub(super) fn explain(&self, error: LogError) -> LogError {
        match (error, self.recent_error()) {
            (LogError::Unavailable(message), Some(reason)) if !message.contains(&reason) => {
                LogError::Unavailable(format!("{message}; {reason}"))
            }
            (error, _) => error,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.max(1))
    }
}

/// The TLS alerts by which a broker refuses the client's certificate, or asks for one (RFC 8446, 6.2).
const CERTIFICATE_ALERTS: [&str; 7] = ["42", "43", "44", "45", "46", "48", "116"];

/// What to change in the settings, where the client's reason does not say it. There is no code for
/// these reasons, only text: nothing but the message depends on it.
fn remedy(reason: &str) -> Option<&'static str> {
    if reason.contains("SASL authentication error") {
        return Some("check sasl.mechanism, sasl.username and sasl.password in KAFKA_PROPERTIES");
    }
    let (_, alert) = reason.rsplit_once("SSL alert number ")?;
    CERTIFICATE_ALERTS.contains(&alert.trim()).then_some(
        "the broker did not accept the client's certificate: check ssl.certificate.location and \
         ssl.key.location in KAFKA_PROPERTIES",
    )
}

/// The context of every client; `state` is for the callbacks of one kind of client.
pub(super) struct KafkaContext<T = ()> {
    pub(super) connectivity: Arc<KafkaConnectivity>,
    pub(super) watchdog: BrokerWatchdog,
    /// The client has logged something since this was last cleared.
    pub(super) logged: AtomicBool,
    pub(super) state: T,
}

impl<T: Send + Sync> ClientContext for KafkaContext<T> {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "librdkafka: {message}");
        self.logged.store(true, Ordering::Relaxed);
        // Some failures are logged only, such as a broker that expects TLS and hangs up.
        if facility == "FAIL" {
            let reason = message
                .split_once("]: ")
                .map_or(message, |(_, reason)| reason);
            let reason = reason.rsplit_once(" (after ").map_or(reason, |(it, _)| it);
            self.connectivity.record(reason);
        }
    }

    /// Global errors are events of a client that goes on retrying. They come about once a second, so
    /// only the change of state is logged.
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL,
            ) => self.connectivity.failed(reason),
            _ => tracing::debug!(reason, "kafka client: {error}"),
        }
    }
}

impl ConsumerContext for KafkaContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_or_client_certificate_names_the_settings_to_check() {
        let refused = "SASL authentication error: Authentication failed";
        assert!(remedy(refused).unwrap().contains("sasl.password"));
        for alert in [
            "bad certificate: SSL alert number 42",
            "SSL alert number 116",
        ] {
            assert!(remedy(alert).unwrap().contains("ssl.certificate.location"));
        }
        for other in [
            "SSL alert number 70",
            "SSL alert number 4",
            "Connection refused",
        ] {
            assert_eq!(remedy(other), None);
        }
    }
}
