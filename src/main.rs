//! Parses the command line, runs the command, prints its error once, and sets the exit code.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use orders::cli::{self, CommandLine};
use orders::commands;
use orders::config::{redact, redact_arguments};
use orders::exit::Exit;
use orders::output::{Format, Output, Verbosity};
use serde_json::json;

/// An order is some thirty small strings. With glibc's allocator 200 clients post little more than
/// half as many orders a second, since its threads wait for each other (`benches/README.md`). Built
/// without huge pages: a few live bytes would keep two megabytes of one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a service waits for a reader of stderr before it ends without its error message.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Orders hold names, addresses and phones: every file this program makes is for its user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let line = match CommandLine::parse(std::env::args_os().collect()) {
        Ok(line) => line,
        Err(error) => return usage(&error).into(),
    };
    let output = line.streams();
    match cli::run(&line, &output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let (exit, _) = commands::exit_of(&error);
            let report = move || {
                let (exit, hint) = commands::exit_of(&error);
                report(&output, exit, &format!("{error:#}"), hint);
            };
            // A supervisor restarts a service that has ended, and may not read its stderr.
            if line.is_service() {
                run_with_timeout(report);
            } else {
                report();
            }
            exit.into()
        }
    }
}

/// Runs `report` in a thread, and returns when it is done or [`REPORT_TIMEOUT`] has passed.
fn run_with_timeout(report: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        report();
        let _ = done.send(());
    });
    // When no thread can be started nothing is printed; the exit code remains.
    if thread.is_ok() {
        let _ = wait.recv_timeout(REPORT_TIMEOUT);
    }
}

/// Prints the error of the run; with `--output json` on stdout too, so that it stays valid JSON.
fn report(output: &Output, exit: Exit, message: &str, hint: Option<&str>) {
    // The message may repeat a setting or a server's text, with its secrets.
    let message = redact(message);
    output.error(&message, hint);
    print_json(output, exit, &message, hint);
}

/// Prints nothing when data was printed before: stdout must hold one document.
fn print_json(output: &Output, exit: Exit, message: &str, hint: Option<&str>) {
    if output.is_json() && !output.has_data() {
        let object = json!({ "error": message, "hint": hint, "exit_code": exit.code() });
        // When stdout cannot be written the exit code remains.
        let _ = output.json(&object);
    }
}

/// Prints help and version on stdout, usage errors on stderr.
fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return match error.print() {
            Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
                let output = Output::new(requested_format(), Verbosity::Normal);
                output.error(&format!("writing to stdout: {failed}"), None);
                Exit::Failed
            }
            _ => Exit::Done,
        };
    }
    let text = error.render().to_string();
    let redacted = without_secrets(error, &text);
    let output = Output::new(requested_format(), Verbosity::Normal);
    if redacted == text {
        let _ = error.print();
    } else {
        output.message(redacted.trim_end());
    }
    let message = redacted.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    print_json(&output, Exit::Usage, message, None);
    Exit::Usage
}

/// Flags whose values may be secret.
const SECRET_FLAGS: [&str; 3] = ["-X", "--kafka-properties", "--db-url"];

/// Masks possible secrets: clap repeats arguments that it does not expect.
fn without_secrets(error: &clap::Error, text: &str) -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    let is_secret_flag = |argument: &String| SECRET_FLAGS.iter().any(|it| argument.starts_with(it));
    let context = match error.kind() {
        // The value of a flag that has none may be any text.
        ErrorKind::TooManyValues => ContextKind::InvalidValue,
        // An argument after a secret may be the rest of it, as in `-X sasl.password SECRET`.
        ErrorKind::UnknownArgument if arguments.iter().any(is_secret_flag) => {
            ContextKind::InvalidArg
        }
        _ => return redact_arguments(text, arguments),
    };
    let mut text = text.to_owned();
    if let Some(ContextValue::String(value)) = error.get(context) {
        let lines = text.split_inclusive('\n');
        let lines = lines.filter(|line| !line.contains("tip: "));
        let shown: String = lines.collect();
        text = shown.replace(&format!("'{value}'"), "'***'");
    }
    redact_arguments(&text, arguments)
}

/// The format on a command line that could not be parsed.
fn requested_format() -> Format {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let is_json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json");
    if is_json { Format::Json } else { Format::Table }
}
