//! The output of commands: data on stdout, messages on stderr.
//!
//! Owns the formats (table or JSON), the verbosity and progress. Nothing else in the program prints,
//! except diagnostics. A closed pipe is not an error: further data is dropped, and the command
//! continues. Tables are plain when piped: no borders, no wrapping, two spaces between columns.
//!
//! # Invariants
//!
//! - Control characters are escaped, so foreign text cannot control a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::escape::{escape, escape_json_lines, escape_lines};
use crate::sync::lock;

/// Moves the cursor to the upper left corner, and clears what is below it.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

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
    has_data: AtomicBool,
    /// Whether nobody reads stdout any more.
    is_closed: AtomicBool,
}

impl Output {
    /// The process's stdout and stderr.
    pub fn new(format: Format, verbosity: Verbosity) -> Output {
        let shared = Shared {
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            stdout_is_terminal: io::stdout().is_terminal(),
            has_data: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        };
        Output {
            format,
            verbosity,
            shared: Arc::new(shared),
        }
    }

    /// Whether JSON was requested; commands print it with [`Output::json`].
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether any data was printed.
    pub fn has_data(&self) -> bool {
        self.shared.has_data.load(Ordering::Relaxed)
    }

    /// Whether the pipe was found closed: a command that prints again and again ends then.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Relaxed)
    }

    /// Clears the terminal; does nothing in a pipe.
    pub fn clear(&self) -> anyhow::Result<()> {
        if self.shared.stdout_is_terminal {
            self.write(CLEAR)?;
        }
        Ok(())
    }

    /// Prints one or more lines of data; a missing newline at the end is added.
    pub fn data(&self, text: &str) -> anyhow::Result<()> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(format!("{text}{end}").as_bytes())?;
        Ok(())
    }

    /// Prints whole lines of JSON: as they are, but escaped on a terminal; `false` when the pipe is
    /// closed.
    pub fn lines(&self, lines: &[u8]) -> anyhow::Result<bool> {
        if !self.shared.stdout_is_terminal {
            return self.write(lines);
        }
        let text = String::from_utf8_lossy(lines);
        self.write(escape_json_lines(&text).as_bytes())
    }

    fn write(&self, lines: &[u8]) -> anyhow::Result<bool> {
        self.shared.has_data.store(true, Ordering::Relaxed);
        let mut stdout = lock(&self.shared.stdout);
        let written = stdout.write_all(lines).and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.shared.is_closed.store(true, Ordering::Relaxed);
                Ok(false)
            }
            written => written.map(|()| true).context("writing to stdout"),
        }
    }

    /// Prints one JSON document on one line.
    pub fn json_line(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value).context("encoding the output as JSON")?;
        self.data(&escape_json_lines(&text))
    }

    /// Prints one JSON document.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("encoding the output as JSON")?;
        self.data(&escape_json_lines(&text))
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

    /// Progress of `what`, with its rate and the time left: a bar on a terminal, elsewhere a line
    /// every 10 s, nothing with `-q`.
    pub fn progress(&self, what: &'static str, total: u64) -> Progress {
        // Hidden where stderr is no terminal.
        let target = match self.verbosity {
            Verbosity::Quiet => ProgressDrawTarget::hidden(),
            _ => ProgressDrawTarget::stderr(),
        };
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total), target)
            .with_style(style.expect("the template is well-formed"))
            .with_message(what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress {
            output: self.clone(),
            bar,
            what,
            total,
            began: Instant::now(),
            reported_at: Instant::now(),
        }
    }

    /// Prints text on stderr. An error of stderr is ignored: it cannot be reported anywhere.
    pub fn message(&self, text: &str) {
        let mut stderr = lock(&self.shared.stderr);
        let _ = writeln!(stderr, "{}", escape_lines(text)).and_then(|()| stderr.flush());
    }
}

/// Progress of a task. Dropping it removes the bar.
pub struct Progress {
    output: Output,
    bar: ProgressBar,
    what: &'static str,
    total: u64,
    began: Instant,
    reported_at: Instant,
}

impl Progress {
    const REPORT_INTERVAL: Duration = Duration::from_secs(10);

    /// Counts one more as done.
    pub fn inc(&mut self) {
        self.add(1);
    }

    /// Counts so many more as done.
    pub fn add(&mut self, count: u64) {
        self.bar.inc(count);
        if self.bar.is_hidden() && self.reported_at.elapsed() >= Self::REPORT_INTERVAL {
            self.reported_at = Instant::now();
            let (done, elapsed) = (self.bar.position(), self.began.elapsed());
            let line = progress_line(self.what, done, self.total, elapsed);
            self.output.info(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A count with a comma between each three digits.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn progress_line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64();
    let left = total.saturating_sub(done) as f64 / rate;
    format!("{what}: {done} of {total}, {rate:.0}/s, {left:.0} s left")
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
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, pipe, read_to_string};

    use super::*;

    /// An output with the readers of its stdout and its stderr.
    fn output(verbosity: Verbosity) -> (Output, PipeReader, PipeReader) {
        let ((stdout, data), (stderr, messages)) = (pipe().unwrap(), pipe().unwrap());
        let shared = Shared {
            stdout: Mutex::new(Box::new(data)),
            stderr: Mutex::new(Box::new(messages)),
            stdout_is_terminal: false,
            has_data: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        };
        let output = Output {
            format: Format::Table,
            verbosity,
            shared: Arc::new(shared),
        };
        (output, stdout, stderr)
    }

    #[test]
    fn a_piped_table_is_plain_and_its_text_cannot_control_a_terminal() {
        let (output, stdout, _) = output(Verbosity::Normal);
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["long\u{1b}[31m".into(), String::new()],
        ];
        output.table(&["name", "n"], rows).unwrap();
        let rows = [vec!["c".into(), "d".into()]];
        output.table(&["order", "a\u{1b}[2Jb"], rows).unwrap();
        drop(output);
        let expected = "name            n\na               1\nlong\\u{1b}[31m\n\
                        order  a\\u{1b}[2Jb\nc      d\n";
        assert_eq!(read_to_string(stdout).unwrap(), expected);
    }

    #[test]
    fn foreign_text_in_json_cannot_control_a_terminal() {
        let (output, stdout, _) = output(Verbosity::Normal);
        let text = "a\u{202e}\u{2028}\u{9b}[31m";
        output.json(&serde_json::json!([text])).unwrap();
        drop(output);
        let printed = read_to_string(stdout).unwrap();
        assert_eq!(printed, "[\n  \"a\\u202e\\u2028\\u009b[31m\"\n]\n");
    }

    #[test]
    fn a_count_has_a_comma_between_each_three_digits() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn progress_has_its_rate_and_the_time_left() {
        let line = progress_line("orders", 500_000, 1_000_000, Duration::from_secs(10));
        assert_eq!(line, "orders: 500000 of 1000000, 50000/s, 10 s left");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let (output, stdout, _) = output(Verbosity::Normal);
        drop(stdout);
        assert!(!output.is_closed());
        assert!(output.data("anything").is_ok());
        assert!(output.is_closed());
    }

    #[test]
    fn quiet_suppresses_messages_but_not_warnings_and_errors() {
        let (output, _, stderr) = output(Verbosity::Quiet);
        output.info("waiting");
        output.warn("lag");
        output.error("no", Some("try"));
        drop(output);
        let expected = "warning: lag\nerror: no\nhint: try\n";
        assert_eq!(read_to_string(stderr).unwrap(), expected);
    }
}
