//! Diagnostics: one line an event on stderr, a message for people and fields for machines.
//!
//! Owns the two formats (text and JSON), the levels and the way to stderr; who logs what is each
//! module's business. No colours, no spans; control characters are escaped, so an event is always
//! one line. The surprising thing: a line goes through a bounded queue to a thread of its own, and
//! is dropped when the queue is full. A stderr that nobody reads must never hold up an order; how
//! many lines were lost is said as soon as it is read again.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::output::Verbosity;

/// Lines that may wait for stderr; what comes on top is dropped and counted.
const QUEUE: usize = 8_192;

/// How long the end of the process waits for stderr to take what is left.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// How a line of diagnostics looks.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// TIME LEVEL message field=value
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Sends every event of this process to stderr, from now until the guard is dropped. Call once.
pub fn init(format: LogFormat, verbosity: Verbosity) -> anyhow::Result<Guard> {
    let (lines, guard) = spawn_writer(std::io::stderr())?;
    tracing_subscriber::registry()
        .with(filter(verbosity))
        .with(Lines { format, lines })
        .try_init()
        .context("starting diagnostics")?;
    Ok(guard)
}

/// What is heard of whom.
fn filter(verbosity: Verbosity) -> Targets {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::WARN,
        Verbosity::Normal => LevelFilter::INFO,
        Verbosity::Verbose => LevelFilter::DEBUG,
        Verbosity::Trace => LevelFilter::TRACE,
    };
    // Libraries are heard when they warn; -vv hears them out.
    let libraries = match verbosity {
        Verbosity::Trace => LevelFilter::DEBUG,
        _ => LevelFilter::WARN,
    };
    Targets::new()
        .with_default(libraries)
        // Its own lines only tell that a client, closed with a time limit, was closed already;
        // what librdkafka says comes by the client's callback.
        .with_target("rdkafka", LevelFilter::OFF)
        // At debug they log statements with their parameters, which are the data of customers.
        .with_target("postgres", libraries.min(LevelFilter::INFO))
        .with_target("tokio_postgres", libraries.min(LevelFilter::INFO))
        .with_target("orders", level)
}

enum Work {
    Line(String),
    /// Everything before it has been written when the sender hears back.
    Flush(SyncSender<()>),
}

/// The sending end of the queue.
struct LineQueue {
    queue: SyncSender<Work>,
    dropped: Arc<AtomicU64>,
}

impl LineQueue {
    fn push(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Work::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Holds diagnostics open; when dropped, waits up to a second for what is queued to be written.
pub struct Guard {
    queue: SyncSender<Work>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, wait) = mpsc::sync_channel(1);
        // A full queue means that stderr is stuck: then there is nothing to wait for.
        if self.queue.try_send(Work::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_WITHIN);
        }
    }
}

fn spawn_writer(stream: impl Write + Send + 'static) -> anyhow::Result<(LineQueue, Guard)> {
    let (queue, work) = mpsc::sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = dropped.clone();
    thread::Builder::new()
        .name("diagnostics".into())
        .spawn(move || write_lines(stream, &work, &counted))
        .context("starting the diagnostics thread")?;
    Ok((
        LineQueue {
            queue: queue.clone(),
            dropped,
        },
        Guard { queue },
    ))
}

fn write_lines(mut stream: impl Write, work: &Receiver<Work>, dropped: &AtomicU64) {
    for next in work {
        // Nobody is left to tell when stderr cannot be written.
        match next {
            Work::Line(line) => drop(stream.write_all(line.as_bytes())),
            Work::Flush(done) => {
                let _ = stream.flush();
                let _ = done.send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lines = lost,
                "log lines were dropped: stderr was not read in time"
            );
        }
    }
}

/// Turns events into lines.
struct Lines {
    format: LogFormat,
    lines: LineQueue,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let now = Timestamp::now();
        let line = match self.format {
            LogFormat::Text => text_line(now, *event.metadata().level(), &parts),
            LogFormat::Json => json_line(now, *event.metadata().level(), &parts),
        };
        self.lines.push(line);
    }
}

/// An event taken apart.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Parts {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            ("message", other) => self.message = other.to_string(),
            // What the bridge from the `log` crate adds about the source line.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// RFC 3339 in UTC, to the millisecond.
fn time(now: Timestamp) -> String {
    format!("{now:.3}")
}

fn text_line(now: Timestamp, level: Level, parts: &Parts) -> String {
    let mut line = format!("{} {level:<5} ", time(now));
    push_escaped(&mut line, &parts.message);
    for (name, value) in &parts.fields {
        let _ = write!(line, " {name}=");
        match value {
            Value::String(text) if is_plain(text) => line.push_str(text),
            // Quoted and escaped as JSON is.
            other => push_escaped(&mut line, &other.to_string()),
        }
    }
    line.push('\n');
    line
}

fn json_line(now: Timestamp, level: Level, parts: &Parts) -> String {
    let mut object = Map::new();
    object.insert("time".into(), time(now).into());
    object.insert("level".into(), level.as_str().into());
    object.insert("message".into(), parts.message.clone().into());
    for (name, value) in &parts.fields {
        object.insert((*name).into(), value.clone());
    }
    format!("{}\n", Value::Object(object))
}

fn is_plain(text: &str) -> bool {
    let is_odd = |character: char| {
        character.is_whitespace() || character.is_control() || "\"=".contains(character)
    };
    !text.is_empty() && !text.contains(is_odd)
}

fn push_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    fn parts(message: &str, fields: &[(&'static str, Value)]) -> Parts {
        Parts {
            message: message.into(),
            fields: fields.to_vec(),
        }
    }

    fn now() -> Timestamp {
        "2026-11-23T07:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_text_line_is_time_level_message_and_fields() {
        let parts = parts(
            "processed order a (offset 7)",
            &[
                ("partition", 3.into()),
                ("reason", "two words".into()),
                ("topic", "orders".into()),
            ],
        );
        assert_eq!(
            text_line(now(), Level::INFO, &parts),
            "2026-11-23T07:00:00.000Z INFO  processed order a (offset 7) partition=3 \
             reason=\"two words\" topic=orders\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object() {
        let parts = parts("processed", &[("offset", 7.into())]);
        let value: Value = serde_json::from_str(&json_line(now(), Level::WARN, &parts)).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-23T07:00:00.000Z", "level": "WARN", "message": "processed", "offset": 7
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn an_event_stays_one_line_whatever_it_holds() {
        let parts = parts("a\nb\u{1b}[31m", &[("uid", "x\ny\u{9b}".into())]);
        let line = text_line(now(), Level::ERROR, &parts);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains(['\u{1b}', '\u{9b}']), "{line:?}");
        assert_eq!(
            json_line(now(), Level::ERROR, &parts).matches('\n').count(),
            1
        );
    }

    #[test]
    fn no_verbosity_shows_the_parameters_of_a_statement() {
        let all = [
            Verbosity::Quiet,
            Verbosity::Normal,
            Verbosity::Verbose,
            Verbosity::Trace,
        ];
        for verbosity in all {
            let filter = filter(verbosity);
            for target in ["postgres", "tokio_postgres"] {
                let is_heard = filter.would_enable(target, &Level::DEBUG);
                assert!(!is_heard, "{target} {verbosity:?}");
            }
        }
        assert!(filter(Verbosity::Trace).would_enable("hyper", &Level::DEBUG));
        assert!(!filter(Verbosity::Verbose).would_enable("tokio_postgres", &Level::INFO));
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_guard_flushes_what_is_queued() {
        let buffer = Buffer::default();
        let (lines, guard) = spawn_writer(buffer.clone()).unwrap();
        lines.push("one\n".into());
        lines.push("two\n".into());
        drop(guard);
        assert_eq!(buffer.0.lock().unwrap().as_slice(), b"one\ntwo\n");
    }

    #[test]
    fn a_stream_that_nobody_reads_holds_nobody_up() {
        struct Stuck;
        impl Write for Stuck {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                loop {
                    thread::park();
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, guard) = spawn_writer(Stuck).unwrap();
        for _ in 0..QUEUE + 100 {
            lines.push("line\n".into());
        }
        assert!(lines.dropped.load(Ordering::Relaxed) >= 99);
        drop(guard);
    }
}
