//! `orders send`: posts orders from files or stdin to the API, one after the other.
//!
//! Files are read as a stream, in bounded memory. A refused order is reported with its line and every
//! reason, and the next one is sent; an unconfirmed one ends the run, since those after it would wait
//! as long. A run can be repeated: an order that is sent twice is stored once.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::client::documents::{Documents, Piece};
use crate::client::{Client, RetryableError, SendOutcome};
use crate::commands::{Context, connect};
use crate::config::{ApiUrlArgs, duration};
use crate::exit::{Exit, Failure};
use crate::order::{Fault, Order};
use crate::output::Output;

/// The JSON summary lists this many orders that were not accepted; the rest is counted.
const MAX_LISTED: usize = 10_000;

const EXAMPLES: &str = "\
Examples:
  orders send order.json
  orders send - < orders.ndjson
  orders send --output json *.json     the outcome of each order as JSON";

/// The arguments of `orders send`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files with orders, `-` for stdin: one order, a JSON array, or one order a line (NDJSON;
    /// *.ndjson and *.jsonl are always read line by line)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How long to retry an order that the API does not confirm
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    api: ApiUrlArgs,
}

/// Sends every order. [`Exit::Failed`] when one was refused; an error when the API is unreachable
/// (5), cannot accept an order in time (1) or does not confirm it (4).
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let token = args.api.token(&context.settings)?;
    let mut sending = Sending {
        client: Client::new(args.api.api_url, token),
        timeout: args.timeout,
        output: &context.output,
        summary: Summary::default(),
        last_uid: None,
    };
    for file in &args.files {
        check_readable(file)?;
    }
    let ended = args.files.iter().try_for_each(|file| sending.file(file));
    sending.report()?;
    ended?;
    let counts = sending.summary.counts;
    Ok(match counts.refused + counts.failed {
        0 => Exit::Done,
        _ => Exit::Failed,
    })
}

/// One run and its outcome so far.
struct Sending<'a> {
    client: Client,
    timeout: Duration,
    output: &'a Output,
    summary: Summary,
    last_uid: Option<String>,
}

/// The output of `--output json`.
#[derive(Default, Serialize)]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    files: Vec<FileSummary>,
    /// The orders that were not accepted.
    orders: Vec<Rejected>,
    /// How many orders were not accepted beyond those listed.
    orders_left_out: u64,
}

#[derive(Serialize)]
struct FileSummary {
    file: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Counts {
    accepted: u64,
    refused: u64,
    /// Not confirmed, or a file without an order.
    failed: u64,
}

/// One order that was not accepted.
#[derive(Default, Serialize)]
struct Rejected {
    file: String,
    line: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    detail: String,
    errors: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_errors: Option<u64>,
}

impl Sending<'_> {
    /// Sends the orders of a file. An error ends the run.
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = name_of(path);
        let reading = || format!("reading orders from `{name}`");
        let mut documents = open(path).with_context(reading)?;
        self.summary.files.push(FileSummary {
            file: name.clone(),
            counts: Counts::default(),
        });
        let mut is_empty = true;
        while let Some(piece) = documents.next_piece().with_context(reading)? {
            is_empty = false;
            match piece {
                Piece::Document { line, bytes } => self.document(&name, line, &bytes)?,
                Piece::Malformed { line, reason } => {
                    self.refused(Rejected {
                        detail: reason,
                        ..Rejected::new(&name, line, "refused")
                    });
                }
            }
        }
        if is_empty {
            self.failed(Rejected {
                detail: "the file has no order".into(),
                ..Rejected::new(&name, 1, "failed")
            });
        }
        Ok(())
    }

    /// Sends one order until it is accepted or refused.
    fn document(&mut self, file: &str, line: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let rejected = |outcome| Rejected::new(file, line, outcome);
        match self.client.send(bytes, self.timeout) {
            Ok(SendOutcome::Accepted { order_uid }) => {
                self.count(|counts| &mut counts.accepted);
                self.last_uid = Some(order_uid);
                Ok(())
            }
            Ok(SendOutcome::Refused {
                status,
                detail,
                faults,
                more_faults,
            }) => {
                // Decoded for its uid alone: the API decides what is wrong with the order.
                let refusal = Order::decode(bytes).err();
                self.refused(Rejected {
                    order_uid: refusal.and_then(|refusal| refusal.order_uid),
                    status: Some(status),
                    detail,
                    errors: faults,
                    more_errors: Some(more_faults).filter(|more| *more > 0),
                    ..rejected("refused")
                });
                Ok(())
            }
            Ok(SendOutcome::NotAccepted(error)) => {
                let failure = (Exit::Failed, "was not accepted");
                Err(self.unconfirmed(rejected("not_accepted"), failure, error))
            }
            Ok(SendOutcome::Unknown(error)) => {
                let failure = (Exit::TimedOut, "may or may not have been accepted");
                Err(self.unconfirmed(rejected("unknown"), failure, error))
            }
            Err(error) => {
                self.failed(Rejected {
                    detail: error.to_string(),
                    ..rejected("not_sent")
                });
                Err(connect::api_failure(&error, "sending orders"))
            }
        }
    }

    /// The error that ends the run at an order that was not accepted, or may not have been.
    fn unconfirmed(
        &mut self,
        order: Rejected,
        (exit, what): (Exit, &str),
        error: RetryableError,
    ) -> anyhow::Error {
        let (detail, timeout) = (error.reason, self.timeout);
        let Rejected { file, line, .. } = &order;
        let message = format!("the order at `{file}:{line}` {what} in {timeout:?}: {detail}");
        self.failed(Rejected { detail, ..order });
        let hint = "nothing after it was sent; run it again when the API is healthy, an order that \
                    is sent twice is stored once";
        Failure::new(exit, message).hint(hint).into()
    }

    fn refused(&mut self, order: Rejected) {
        self.output.error(&order.to_string(), None);
        self.count(|counts| &mut counts.refused);
        self.list(order);
    }

    /// Counts an order that the error at the end of the run reports.
    fn failed(&mut self, order: Rejected) {
        if order.outcome == "failed" {
            self.output.error(&order.to_string(), None);
        }
        self.count(|counts| &mut counts.failed);
        self.list(order);
    }

    fn count(&mut self, counter: fn(&mut Counts) -> &mut u64) {
        let Summary { counts, files, .. } = &mut self.summary;
        let of_file = files.last_mut().map(|file| &mut file.counts);
        for counts in of_file.into_iter().chain([counts]) {
            *counter(counts) += 1;
        }
    }

    fn list(&mut self, order: Rejected) {
        if self.summary.orders.len() < MAX_LISTED {
            self.summary.orders.push(order);
        } else {
            self.summary.orders_left_out += 1;
        }
    }

    /// Prints the uid of a single order, a row per file for more, or the summary as JSON.
    fn report(&self) -> anyhow::Result<()> {
        if self.output.is_json() {
            return self.output.json(&self.summary);
        }
        let all: u64 = self.summary.counts.numbers().iter().sum();
        match (&self.last_uid, all) {
            (Some(order_uid), 1) => return self.output.data(order_uid),
            (None, 0 | 1) => return Ok(()),
            _ => {}
        }
        let rows = self.summary.files.iter().map(|file| {
            let counts = file.counts.numbers().map(|count| count.to_string());
            [file.file.clone()].into_iter().chain(counts).collect()
        });
        self.output
            .table(&["file", "accepted", "refused", "failed"], rows)
    }
}

impl Counts {
    fn numbers(&self) -> [u64; 3] {
        [self.accepted, self.refused, self.failed]
    }
}

impl Rejected {
    fn new(file: &str, line: u64, outcome: &'static str) -> Rejected {
        Rejected {
            file: file.to_owned(),
            line,
            outcome,
            ..Rejected::default()
        }
    }
}

impl std::fmt::Display for Rejected {
    /// One line: file and line, the order's uid if it has one, every reason.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(order_uid) = &self.order_uid {
            write!(f, "order `{order_uid}` ")?;
        }
        f.write_str(self.outcome)?;
        if let Some(status) = self.status {
            write!(f, " ({status})")?;
        }
        let faults: Vec<String> = self.errors.iter().map(Fault::to_string).collect();
        match faults.as_slice() {
            [] => write!(f, ": {}", self.detail),
            faults => write!(f, ": {}", faults.join("; ")),
        }?;
        match self.more_errors {
            Some(more) => write!(f, "; and {more} more"),
            None => Ok(()),
        }
    }
}

/// Fails before anything is sent when a file is missing. Does not open it: opening and closing a named
/// pipe would end its writer.
fn check_readable(path: &Path) -> Result<(), Failure> {
    if is_stdin(path) {
        return Ok(());
    }
    let problem = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => "it is a directory".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    let message = format!("reading orders from `{}`: {problem}", path.display());
    Err(Failure::usage(message).hint("name files with orders, or `-` for stdin"))
}

fn open(path: &Path) -> io::Result<Documents<Box<dyn BufRead>>> {
    let input: Box<dyn BufRead> = match is_stdin(path) {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(path)?)),
    };
    let by_line = path
        .extension()
        .is_some_and(|it| it == "ndjson" || it == "jsonl");
    Documents::new(input, by_line)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn name_of(path: &Path) -> String {
    match is_stdin(path) {
        true => "stdin".into(),
        false => path.display().to_string(),
    }
}
