//! The lines of a child's stderr as they come, and the transcript that a failing test prints.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::TIMEOUT;

/// A child's stderr, kept for a test that fails.
pub struct Transcript {
    pub(super) name: String,
    pub(super) stderr: Lines,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.stderr.all();
        let skipped = lines.len().saturating_sub(200);
        write!(
            f,
            "-- stderr of {} ({skipped} lines left out)\n{}",
            self.name,
            lines[skipped..].join("\n")
        )
    }
}

#[derive(Clone, Default)]
pub(super) struct Lines {
    state: Arc<Mutex<LinesState>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
pub(super) struct LinesState {
    pub lines: Vec<String>,
    pub closed: bool,
}

impl Lines {
    /// Has no lines where the stream is not captured.
    pub fn collect(stream: Option<impl Read + Send + 'static>) -> Lines {
        let lines = Lines::default();
        let Some(stream) = stream else {
            lines.guard().closed = true;
            return lines;
        };
        let collector = lines.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                collector.guard().lines.push(text);
                collector.changed.notify_all();
                line.clear();
            }
            collector.guard().closed = true;
            collector.changed.notify_all();
        });
        lines
    }

    pub fn guard(&self) -> MutexGuard<'_, LinesState> {
        self.state.lock().expect("no reader panics")
    }

    pub fn all(&self) -> Vec<String> {
        self.guard().lines.clone()
    }

    /// The first line after the `mark`-th that contains `text`; `None` when there is none by then or
    /// the stream is closed.
    pub fn wait_for(&self, mark: usize, text: &str, within: Duration) -> Option<String> {
        let find = |state: &LinesState| {
            let mut lines = state.lines.iter().skip(mark);
            lines.find(|line| line.contains(text)).cloned()
        };
        let waited = self
            .changed
            .wait_timeout_while(self.guard(), within, |state| {
                !state.closed && find(state).is_none()
            });
        find(&waited.expect("no reader panics").0)
    }

    pub fn wait_closed(&self) {
        let state = self.guard();
        let _closed = self
            .changed
            .wait_timeout_while(state, TIMEOUT, |state| !state.closed)
            .expect("no reader panics");
    }
}
