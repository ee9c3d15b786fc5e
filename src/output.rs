//! What commands say: data to stdout, talk to stderr.
//!
//! Owns the formats (table or JSON), quiet and verbose, and progress. Nothing else in the program
//! prints, except diagnostics. A reader that closes its pipe is no error: what it no longer wants is
//! dropped and the command goes on. The surprising thing: tables are plain when piped (no borders,
//! no wrapping, two spaces between columns), and control characters in cells are always escaped.

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

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only (`-q`).
    Quiet,
    #[default]
    Normal,
    /// More about what happens (`-v`).
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
    /// Output to this process's stdout and stderr.
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

    /// The format asked for; commands print JSON with [`Output::json`] when it is JSON.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether anything was printed as data.
    pub fn has_data(&self) -> bool {
        self.shared.has_data.load(Ordering::Relaxed)
    }

    /// Prints one or more lines of data; a newline is added where the text has none at its end.
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

    /// Prints whole lines of data as they are; `false` when nobody reads them any more.
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

    /// Prints a table: framed for a terminal, plain for a pipe. A row has a cell a header.
    pub fn table<Row>(&self, headers: &[&str], rows: Row) -> anyhow::Result<()>
    where
        Row: IntoIterator<Item = Vec<String>>,
    {
        let rows = rows.into_iter();
        self.data(&table_text(headers, rows, self.shared.stdout_is_terminal))
    }

    /// Says what is happening; silenced by `-q`.
    pub fn info(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.message(text);
        }
    }

    /// Says what deserves attention; not silenced.
    pub fn warn(&self, text: &str) {
        self.message(&format!("warning: {text}"));
    }

    /// Says why the command ends; not silenced.
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
        let said_at = Mutex::new(Instant::now());
        let done = Mutex::new(0);
        Progress {
            output: self.clone(),
            bar,
            what: what.to_owned(),
            total,
            done,
            said_at,
        }
    }

    /// Writes text to stderr as it is. What cannot be said is dropped: nobody is left to hear of it.
    pub fn message(&self, text: &str) {
        let mut stderr = self
            .shared
            .stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(stderr, "{}", escape_lines(text)).and_then(|()| stderr.flush());
    }
}

/// How far something is; shared by reference between threads. Vanishes when dropped.
pub struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    what: String,
    total: Option<u64>,
    done: Mutex<u64>,
    said_at: Mutex<Instant>,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(10);

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
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.elapsed() >= Self::EVERY {
            *said_at = Instant::now();
            let of = self
                .total
                .map(|total| format!(" of {total}"))
                .unwrap_or_default();
            self.output.info(&format!("{}: {done}{of}", self.what));
        }
    }

    /// Takes the bar off the terminal.
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
        let talk = Buffer::default();
        let shared = Shared {
            stdout: Mutex::new(Box::new(stdout)),
            stderr: Mutex::new(Box::new(talk.clone())),
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
            talk,
        )
    }

    #[test]
    fn a_piped_table_is_plain_and_its_cells_cannot_steer_a_terminal() {
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
    fn a_uid_in_a_header_cannot_steer_the_terminal() {
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
    fn quiet_silences_talk_but_not_warnings_and_errors() {
        let (output, talk) = output(Buffer::default(), Verbosity::Quiet);
        output.info("waiting");
        output.warn("odd");
        output.error("no", Some("try"));
        assert_eq!(talk.text(), "warning: odd\nerror: no\nhint: try\n");
    }
}
