//! Writes log lines to stderr: a bounded queue and a thread that writes it.
//!
//! A stderr that nobody reads must never block an order, so a line that finds the queue full is
//! dropped and counted, and the count is logged once stderr is read again. At the end of the process
//! everything queued is written, as long as the reader keeps reading. tracing-appender's writer is not
//! used: its guard gives up on a full queue after 100 ms, loses all of it, and reports that on stdout.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use crate::escape::{escape, escape_json};

/// Lines that may wait for stderr.
const QUEUE_LINES: usize = 8_192;

/// How long the end of the process waits for a reader that does not read.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the end of the process checks whether more has been written.
const POLL: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// Starts the thread that writes to `stream`.
pub(super) fn start(
    stream: impl Write + Send + 'static,
    format: LogFormat,
) -> anyhow::Result<(EventWriter, Guard)> {
    let (queue, lines) = mpsc::sync_channel(QUEUE_LINES);
    let counts = Arc::new(Counts::default());
    let guard = Guard {
        counts: counts.clone(),
    };
    let writer = EventWriter {
        format,
        queue,
        counts: counts.clone(),
    };
    thread::Builder::new()
        .name("diagnostics".into())
        .spawn(move || write_lines(stream, &lines, &counts))
        .context("starting the diagnostics thread")?;
    Ok((writer, guard))
}

fn write_lines(mut stream: impl Write, lines: &Receiver<String>, counts: &Counts) {
    for line in lines {
        // An error of stderr cannot be reported anywhere.
        let _ = stream
            .write_all(line.as_bytes())
            .and_then(|()| stream.flush());
        counts.written.fetch_add(1, Ordering::Release);
        let lines = counts.dropped.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log lines were dropped: stderr was not read in time");
        }
    }
}

/// Queues formatted events; never blocks.
#[derive(Clone)]
pub(super) struct EventWriter {
    format: LogFormat,
    queue: SyncSender<String>,
    counts: Arc<Counts>,
}

impl<'a> MakeWriter<'a> for EventWriter {
    type Writer = &'a EventWriter;

    fn make_writer(&'a self) -> &'a EventWriter {
        self
    }
}

/// tracing-subscriber writes each event in one call, its line feed at the end.
impl Write for &EventWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end_matches('\n');
        let text = match self.format {
            LogFormat::Text => escape(text),
            LogFormat::Json => escape_json(text),
        };
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(format!("{text}\n")).is_err() {
            self.counts.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits, when it is dropped, until what is queued has been written, or until nothing has been written
/// for a second.
pub struct Guard {
    counts: Arc<Counts>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut written = 0;
        let mut stalled_since = Instant::now();
        loop {
            let now = self.counts.written.load(Ordering::Acquire);
            if now >= self.counts.queued.load(Ordering::Relaxed) {
                return;
            }
            if now != written {
                written = now;
                stalled_since = Instant::now();
            } else if stalled_since.elapsed() >= STALL_TIMEOUT {
                return;
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(mut writer: &EventWriter, lines: usize) {
        for line in 0..lines {
            let line = format!("line {line}\n");
            writer.write_all(line.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_slow_reader_gets_every_queued_line_before_the_process_ends() {
        struct Slow(SyncSender<String>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, reader) = mpsc::sync_channel(0);
        let (writer, guard) = start(Slow(lines), LogFormat::Text).unwrap();
        log(&writer, QUEUE_LINES);
        let end = thread::spawn(move || drop(guard));
        let read: Vec<String> = reader.into_iter().take(QUEUE_LINES).collect();
        end.join().unwrap();
        assert_eq!(read.len(), QUEUE_LINES);
        assert_eq!(read[QUEUE_LINES - 1], format!("line {}\n", QUEUE_LINES - 1));
    }

    #[test]
    fn a_stream_that_nobody_reads_blocks_nobody() {
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
        let (writer, guard) = start(Stuck, LogFormat::Text).unwrap();
        log(&writer, QUEUE_LINES + 100);
        assert!(writer.counts.dropped.load(Ordering::Relaxed) >= 99);
        drop(guard);
    }
}
