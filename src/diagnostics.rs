//! Diagnostics: every event of the process is one line on stderr, as text or as JSON.
//!
//! Owns the filter and the two formats, both of tracing-subscriber; `writer` owns the queue before
//! stderr. No colours, no spans, no source locations.

use std::fmt;

use anyhow::Context as _;
use jiff::Timestamp;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::limit::EventLimit;
use self::writer::{EventWriter, Guard};
use crate::output::Verbosity;

mod limit;
mod writer;

/// How an event is written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// TIME LEVEL message field=value
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Writes every event to stderr from now on, without blocking. Call once. What is queued when the guard
/// is dropped is written first, as long as stderr is read.
pub fn init(format: LogFormat, verbosity: Verbosity) -> anyhow::Result<Guard> {
    let (writer, guard) = writer::start(std::io::stderr(), format)?;
    tracing_subscriber::registry()
        .with(filter(verbosity))
        .with(layer(format, writer))
        .try_init()
        .context("starting diagnostics")?;
    Ok(guard)
}

fn layer<S>(format: LogFormat, writer: EventWriter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .with_timer(UtcMilliseconds);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    }
}

/// RFC 3339 in UTC, to the millisecond.
struct UtcMilliseconds;

impl FormatTime for UtcMilliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.3}", Timestamp::now())
    }
}

/// Which events are written: ours by verbosity, those of libraries when they warn.
fn filter(verbosity: Verbosity) -> Targets {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::WARN,
        Verbosity::Normal => LevelFilter::INFO,
        Verbosity::Verbose => LevelFilter::DEBUG,
        Verbosity::Trace => LevelFilter::TRACE,
    };
    let libraries = match verbosity {
        Verbosity::Trace => LevelFilter::DEBUG,
        _ => LevelFilter::WARN,
    };
    Targets::new()
        .with_default(libraries)
        // Its own lines only report that a client, closed with a time limit, was closed already;
        // what librdkafka reports comes through the client's callback.
        .with_target("rdkafka", LevelFilter::OFF)
        // At debug they log statements with their parameters, which are the data of customers.
        .with_target("postgres", libraries.min(LevelFilter::INFO))
        .with_target("tokio_postgres", libraries.min(LevelFilter::INFO))
        .with_target("orders", level)
}

#[cfg(test)]
mod tests {
    use std::io::{pipe, read_to_string};

    use serde_json::Value;
    use tracing::Level;

    use super::*;

    /// The lines of the events that `log` sends.
    fn written(format: LogFormat, log: impl FnOnce()) -> String {
        let (stderr, stream) = pipe().unwrap();
        let (writer, _guard) = writer::start(stream, format).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(format, writer));
        tracing::subscriber::with_default(subscriber, log);
        read_to_string(stderr).unwrap()
    }

    #[test]
    fn a_text_line_is_time_level_message_and_fields() {
        let line = written(LogFormat::Text, || {
            let (partition, topic) = (3, "orders");
            tracing::info!(partition, topic, "processed order a (offset 7)");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        let expected = " INFO processed order a (offset 7) partition=3 topic=\"orders\"\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_json_line_is_one_object() {
        let line = written(LogFormat::Json, || {
            tracing::warn!(offset = 7, "processed");
        });
        let mut object: Value = serde_json::from_str(&line).unwrap();
        let time = object["timestamp"].take();
        assert!(time.as_str().unwrap().parse::<Timestamp>().is_ok());
        let expected = serde_json::json!({
            "timestamp": null, "level": "WARN", "message": "processed", "offset": 7
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn foreign_text_cannot_forge_a_line_or_a_field() {
        let log = || {
            let uid = "x\ny\u{9b}\u{202e} level=ERROR";
            tracing::error!(uid, "a\nb\u{1b}[31m");
        };
        let line = written(LogFormat::Text, log);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.ends_with("level=ERROR\"\n"), "{line:?}");
        assert!(!line.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{line:?}");

        let line = written(LogFormat::Json, log);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.contains(['\u{9b}', '\u{202e}']), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["uid"], "x\ny\u{9b}\u{202e} level=ERROR");
    }

    #[test]
    fn no_verbosity_writes_the_parameters_of_a_statement() {
        let all = [
            Verbosity::Quiet,
            Verbosity::Normal,
            Verbosity::Verbose,
            Verbosity::Trace,
        ];
        for verbosity in all {
            let filter = filter(verbosity);
            for target in ["postgres", "tokio_postgres"] {
                let is_written = filter.would_enable(target, &Level::DEBUG);
                assert!(!is_written, "{target} {verbosity:?}");
            }
        }
        assert!(filter(Verbosity::Trace).would_enable("hyper", &Level::DEBUG));
        assert!(!filter(Verbosity::Verbose).would_enable("tokio_postgres", &Level::INFO));
    }
}
