//! `orders get`: looks orders up by their uid and prints them.
//!
//! An order that may not be the newest version is printed with a warning. With several uids each one
//! is looked up, whatever the outcome of the previous ones; with `--output json` the array has an entry
//! for each, in order.

use std::time::Duration;

use serde::Serialize;

use crate::client::{Client, FoundOrder, GetOutcome};
use crate::commands::{Context, connect};
use crate::config::{ApiUrlArgs, duration};
use crate::exit::{Exit, Failure};
use crate::order::{Item, Kind, Order, TableRow};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  orders get b563feb7b2b84b6test
  orders get b563feb7b2b84b6test --output json
  orders get b563feb7b2b84b6test --wait 10s    exit code 3 when it does not exist";

/// The arguments of `orders get`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The uids of the orders
    #[arg(required = true, value_name = "UID")]
    order_uids: Vec<String>,

    /// How long to wait while the API does not know yet [default: one request]
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    #[arg(hide_default_value = true)]
    wait: Duration,

    #[command(flatten)]
    api: ApiUrlArgs,
}

/// Prints every order that is found. [`Exit::CheckFailed`] when one does not exist,
/// [`Exit::TimedOut`] when the API does not know yet.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let output = &context.output;
    let token = args.api.token(&context.settings)?;
    let client = Client::new(args.api.api_url, token);
    let is_single = args.order_uids.len() == 1;
    let mut exit = Exit::Done;
    let mut entries: Vec<Entry> = Vec::new();
    for order_uid in &args.order_uids {
        let got = client.get(order_uid, args.wait);
        let got = got.map_err(|error| connect::api_failure(&error, "looking up orders"))?;
        match found_or_missing(got, order_uid, !args.wait.is_zero()) {
            Ok(found) => {
                warn_if_outdated(output, &found);
                if !output.is_json() {
                    if output.has_data() {
                        output.data("")?;
                    }
                    print(output, &found.order)?;
                } else if is_single {
                    output.json(&found.order)?;
                } else {
                    entries.push(Entry::Found(Box::new(found.order)));
                }
            }
            Err(failure) if is_single => return Err(failure.into()),
            Err(failure) => {
                let error = failure.to_string();
                output.error(&error, None);
                exit = worse(exit, failure.exit);
                let order_uid = order_uid.clone();
                entries.push(Entry::Missing { order_uid, error });
            }
        }
    }
    if output.is_json() && !is_single {
        output.json(&entries)?;
    }
    Ok(exit)
}

/// One entry of the JSON array.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Found(Box<Order>),
    Missing { order_uid: String, error: String },
}

/// The order, or why there is none to print.
fn found_or_missing(
    got: GetOutcome,
    order_uid: &str,
    has_waited: bool,
) -> Result<Box<FoundOrder>, Failure> {
    Err(match got {
        GetOutcome::Found(found) => return Ok(found),
        GetOutcome::NotFound { detail } => {
            let message = format!("order `{order_uid}` was not found: {detail}");
            Failure::new(Exit::CheckFailed, message)
        }
        GetOutcome::Pending(error) => {
            let message = format!("order `{order_uid}` is not found yet: {}", error.reason);
            let hint = match has_waited {
                false => "try again, or wait with --wait 10s",
                true => "check that `orders consume` runs: /readyz?verbose on its operators' port",
            };
            Failure::new(Exit::TimedOut, message).hint(hint)
        }
        GetOutcome::Refused { status, detail } => Failure::usage(format!(
            "looking up order `{order_uid}`: refused ({status}): {detail}"
        )),
    })
}

/// The exit code of several orders: one that may still be found (4) outweighs one that is not (3).
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::Done => 0,
        Exit::CheckFailed => 1,
        Exit::TimedOut => 2,
        _ => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Warns of an order that may not be the newest version.
fn warn_if_outdated(output: &Output, found: &FoundOrder) {
    let order_uid = &found.order.order_uid;
    if let Some(records) = &found.behind {
        output.warn(&format!(
            "order `{order_uid}` is as stored, and the consumer is {records} records behind: there \
             may be a newer version"
        ));
    }
    if found.is_unverified {
        output.warn(&format!(
            "the API could not verify that this is the newest version of order `{order_uid}`: the log \
             is unavailable, or another program's consumer replied"
        ));
    }
}

/// Prints an order as tables: one for each part, then one with a row per item.
fn print(output: &Output, order: &Order) -> anyhow::Result<()> {
    output.table(&["order", &order.order_uid], rows(order))?;
    output.data("")?;
    output.table(&["delivery", ""], rows(&order.delivery))?;
    output.data("")?;
    output.table(&["payment", ""], rows(&order.payment))?;
    output.data("")?;
    let headers: Vec<&str> = Item::COLUMNS.iter().map(|column| column.field).collect();
    let texts = |item: &Item| item.values().map(|value| value.to_string()).collect();
    output.table(&headers, order.items.iter().map(texts))
}

/// The name and the value of every column but the key.
fn rows(row: &impl TableRow) -> impl Iterator<Item = Vec<String>> {
    row.columns()
        .filter(|(column, _)| column.kind != Kind::Uid)
        .map(|(column, value)| vec![column.field.to_owned(), value.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RetryableError;

    #[test]
    fn not_found_and_not_known_yet_have_different_exit_codes() {
        let not_found = GetOutcome::NotFound {
            detail: "there is no such order".into(),
        };
        let failure = found_or_missing(not_found, "a", false).unwrap_err();
        assert_eq!(failure.exit, Exit::CheckFailed);
        let message = "order `a` was not found: there is no such order";
        assert_eq!(failure.to_string(), message);
    }

    #[test]
    fn a_get_that_has_waited_does_not_suggest_to_wait() {
        for (has_waited, hint) in [(false, "--wait 10s"), (true, "orders consume")] {
            let pending = GetOutcome::Pending(RetryableError {
                reason: "wait".into(),
                retry_after: None,
            });
            let failure = found_or_missing(pending, "a", has_waited).unwrap_err();
            assert_eq!(failure.exit, Exit::TimedOut);
            assert!(failure.hint.unwrap().contains(hint));
        }
    }

    #[test]
    fn an_order_that_may_still_be_found_outweighs_one_that_is_not() {
        assert_eq!(worse(Exit::CheckFailed, Exit::TimedOut), Exit::TimedOut);
        assert_eq!(worse(Exit::TimedOut, Exit::CheckFailed), Exit::TimedOut);
        assert_eq!(worse(Exit::Done, Exit::CheckFailed), Exit::CheckFailed);
        assert_eq!(worse(Exit::Usage, Exit::TimedOut), Exit::Usage);
    }
}
