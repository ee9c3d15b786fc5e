//! The output of commands: data on stdout, messages on stderr.
//!
//! Owns the formats (table or JSON), the verbosity and progress. Nothing else in the program prints,
//! except diagnostics. A closed pipe is not an error: further data is dropped, and the command goes
//! on. Tables are plain when piped: no borders, no wrapping, two spaces between columns.
//!
//! # Invariants
//!
//! - Control characters are escaped, so foreign text cannot control a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::escape::{escape, escape_lines};

/// How data is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns for people; plain when piped
    #[default]
    Table,
    /// One JSON document, also when the command fails
    Json,
}

/// How much is printed on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only (`-q`).
    Quiet,
    #[default]
    Normal,
    /// More detail (`-v`).
    Verbose,
    /// Everything (`-vv`).
    Trace,
}

/// The streams of a command; clones share them.
#[derive(Clone)]
pub struct Output {
    format: Format,
    verbosity: Verbosity,
    shared: Arc<Shared>,
}

struct Shared {
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    has_data: AtomicBool,
}

impl Output {
    /// The process's stdout and stderr.
    pub fn new(format: Format, verbosity: Verbosity) -> Output {
        let shared = Shared {
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            has_data: AtomicBool::new(false),
        };
        Output {
            format,
            verbosity,
            shared: Arc::new(shared),
        }
    }

    /// The requested format; commands print JSON with [`Output::json`] when it is JSON.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether JSON was requested.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether any data was printed.
    pub fn has_data(&self) -> bool {
        self.shared.has_data.load(Ordering::Relaxed)
    }

    /// Prints one or more lines of data; a missing newline at the end is added.
    pub fn data(&self, text: &str) -> anyhow::Result<()> {
        self.shared.has_data.store(true, Ordering::Relaxed);
        let mut stdout = self
            .shared
            .stdout
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("writing to stdout"),
        }
    }

    /// Prints whole lines of data as they are; `false` when the pipe is closed.
    pub fn lines(&self, lines: &[u8]) -> anyhow::Result<bool> {
        self.shared.has_data.store(true, Ordering::Relaxed);
        let mut stdout = self
            .shared
            .stdout
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let written = stdout.write_all(lines).and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("writing to stdout"),
        }
    }

    /// Prints one JSON document.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("encoding the output as JSON")?;
        self.data(&text)
    }

    /// Prints a table: with borders on a terminal, plain in a pipe. A row has one cell per header.
    pub fn table<Row>(&self, headers: &[&str], rows: Row) -> anyhow::Result<()>
    where
        Row: IntoIterator<Item = Vec<String>>,
    {
        let rows = rows.into_iter();
        self.data(&table_text(headers, rows, self.shared.stdout_is_terminal))
    }

    /// Prints what happens; `-q` suppresses it.
    pub fn info(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.message(text);
        }
    }

    /// Prints a warning, even with `-q`.
    pub fn warn(&self, text: &str) {
        self.message(&format!("warning: {text}"));
    }

    /// Prints an error and its hint, even with `-q`.
    pub fn error(&self, text: &str, hint: Option<&str>) {
        self.message(&format!("error: {text}"));
        if let Some(hint) = hint {
            self.message(&format!("hint: {hint}"));
        }
    }

    /// Progress of `what`: a bar on a terminal, elsewhere a line every 10 s, nothing with `-q`.
    pub fn progress(&self, what: &str, total: Option<u64>) -> Progress {
        let bar = if self.shared.stderr_is_terminal && self.verbosity != Verbosity::Quiet {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            bar.set_style(style(total.is_some()));
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            Some(bar)
        } else {
            None
        };
        let reported_at = Mutex::new(Instant::now());
        let done = Mutex::new(0);
        Progress {
            output: self.clone(),
            bar,
            what: what.to_owned(),
            total,
            done,
            reported_at,
        }
    }

    /// Prints text on stderr. An error of stderr is ignored: it cannot be reported anywhere.
    pub fn message(&self, text: &str) {
        let mut stderr = self
            .shared
            .stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(stderr, "{}", escape_lines(text)).and_then(|()| stderr.flush());
    }
}

/// Progress of a task, shared by reference between threads. Dropping it removes the bar.
pub struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    what: String,
    total: Option<u64>,
    done: Mutex<u64>,
    reported_at: Mutex<Instant>,
}

impl Progress {
    const REPORT_INTERVAL: Duration = Duration::from_secs(10);

    /// Counts `more` as done.
    pub fn inc(&self, more: u64) {
        let done = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += more;
            *done
        };
        if let Some(bar) = &self.bar {
            bar.inc(more);
            return;
        }
        let mut reported_at = self
            .reported_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if reported_at.elapsed() >= Self::REPORT_INTERVAL {
            *reported_at = Instant::now();
            let of = self
                .total
                .map(|total| format!(" of {total}"))
                .unwrap_or_default();
            self.output.info(&format!("{}: {done}{of}", self.what));
        }
    }

    /// Removes the bar from the terminal.
    pub fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total {
        "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}"
    } else {
        "{spinner} {msg} {pos} {per_sec}"
    };
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

fn table_text(
    headers: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    is_terminal: bool,
) -> String {
    let mut table = Table::new();
    if is_terminal {
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_preset(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(headers.iter().map(|header| escape(header)));
    for row in rows {
        table.add_row(row.iter().map(|cell| escape(cell)).collect::<Vec<_>>());
    }
    if !is_terminal {
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(stdout: impl Write + Send + 'static, verbosity: Verbosity) -> (Output, Buffer) {
        let messages = Buffer::default();
        let shared = Shared {
            stdout: Mutex::new(Box::new(stdout)),
            stderr: Mutex::new(Box::new(messages.clone())),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            has_data: AtomicBool::new(false),
        };
        (
            Output {
                format: Format::Table,
                verbosity,
                shared: Arc::new(shared),
            },
            messages,
        )
    }

    #[test]
    fn a_piped_table_is_plain_and_its_cells_cannot_control_a_terminal() {
        let data = Buffer::default();
        let (output, _) = output(data.clone(), Verbosity::Normal);
        let rows = vec![
            vec!["a".into(), "1".into()],
            vec!["long\u{1b}[31m".into(), String::new()],
        ];
        output.table(&["name", "n"], rows).unwrap();
        let expected = "name            n\na               1\nlong\\u{1b}[31m\n";
        assert_eq!(data.text(), expected);
    }

    #[test]
    fn a_uid_in_a_header_cannot_control_a_terminal() {
        let stdout = Buffer::default();
        let (output, _) = output(stdout.clone(), Verbosity::Normal);
        output
            .table(&["order", "a\u{1b}[2Jb"], [vec!["c".into(), "d".into()]])
            .unwrap();
        assert_eq!(stdout.text(), "order  a\\u{1b}[2Jb\nc      d\n");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let (output, _) = output(ClosedPipe, Verbosity::Normal);
        assert!(output.data("anything").is_ok());
    }

    #[test]
    fn quiet_suppresses_messages_but_not_warnings_and_errors() {
        let (output, messages) = output(Buffer::default(), Verbosity::Quiet);
        output.info("waiting");
        output.warn("lag");
        output.error("no", Some("try"));
        assert_eq!(messages.text(), "warning: lag\nerror: no\nhint: try\n");
    }
}
