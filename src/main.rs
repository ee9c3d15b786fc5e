//! Parse, run, print the error chain once, exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use orders::cli::{self, Cli};
use orders::config::{redact, redact_arguments};
use orders::exit::{self, Exit};
use orders::output::{Format, Output, Verbosity};
use serde_json::json;

/// An order is some thirty small strings. With glibc's allocator 200 clients get little more than
/// half of the orders in, since its threads wait for each other (`benches/README.md`). It is built
/// without huge pages, of which a few live bytes would keep two megabytes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a service that must end waits for its last words to be read.
const SAID_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let output = cli.global.streams();
    let is_service = cli.command.is_service();
    match cli::run(cli, &output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let (exit, _) = exit::of(&error);
            let report = move || {
                let (exit, hint) = exit::of(&error);
                report(&output, exit, &format!("{error:#}"), hint);
            };
            // A supervisor starts a service again when it has ended, and may not read its stderr.
            if is_service {
                wait_for(report);
            } else {
                report();
            }
            exit.into()
        }
    }
}

/// Until it is done, or has had its time.
fn wait_for(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let saying = thread::Builder::new().spawn(move || {
        work();
        let _ = done.send(());
    });
    // Where no thread can be had nothing is said; the exit code still tells.
    if saying.is_ok() {
        let _ = wait.recv_timeout(SAID_WITHIN);
    }
}

/// Prints what ended the run; with `--output json` on stdout too, so that it stays valid JSON.
fn report(output: &Output, exit: Exit, message: &str, hint: Option<&str>) {
    // The last line of defence: every message is written without secrets.
    let message = redact(message);
    output.error(&message, hint);
    print_json(output, exit, &message, hint);
}

/// Nothing when data was printed before: a second document would spoil the first.
fn print_json(output: &Output, exit: Exit, message: &str, hint: Option<&str>) {
    if output.is_json() && !output.has_data() {
        let object = json!({ "error": message, "hint": hint, "exit_code": exit.code() });
        // Nothing is left to be done when stdout cannot be written: the exit code tells.
        let _ = output.json(&object);
    }
}

/// Help and version go to stdout, mistakes to stderr: clap knows which, and its own layout.
fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    let text = error.render().to_string();
    let redacted = without_secrets(error, &text);
    let output = Output::new(format_asked_for(), Verbosity::Normal);
    if redacted == text {
        let _ = error.print();
    } else {
        output.talk(redacted.trim_end());
    }
    let message = redacted.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    print_json(&output, Exit::Usage, message, None);
    Exit::Usage
}

/// clap repeats what it cannot place, and that may be a secret that stands in the wrong place.
fn without_secrets(error: &clap::Error, text: &str) -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    match (error.kind(), error.get(ContextKind::InvalidValue)) {
        // A value given to a flag that takes none may be anything.
        (ErrorKind::TooManyValues, Some(ContextValue::String(value))) => {
            let text = text.replace(&format!("'{value}'"), "'***'");
            redact_arguments(&text, arguments)
        }
        _ => redact_arguments(text, arguments),
    }
}

/// The format on a command line that could not be parsed.
fn format_asked_for() -> Format {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let is_json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json");
    if is_json { Format::Json } else { Format::Table }
}
