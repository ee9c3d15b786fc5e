//! `orders get`: looks orders up by their uid and prints them.
//!
//! What the API cannot vouch for as the newest version is printed with a warning. With several uids
//! every one is asked for, whatever became of those before; with `--output json` the array has an
//! entry for each, in their order.

use std::time::Duration;

use serde::Serialize;

use crate::client::{Client, Found, Got};
use crate::commands::{Context, send};
use crate::config::{ApiUrlArgs, duration};
use crate::exit::{Exit, Failure};
use crate::order::{Item, Kind, Order, TableRow};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  orders get b563feb7b2b84b6test
  orders get b563feb7b2b84b6test --output json
  orders get b563feb7b2b84b6test --wait 10s    exit code 3 when it does not exist";

/// What `orders get` takes.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The uids of the orders
    #[arg(required = true, value_name = "UID")]
    order_uids: Vec<String>,

    /// How long to go on asking while the API does not know yet [default: ask once]
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    #[arg(hide_default_value = true)]
    wait: Duration,

    #[command(flatten)]
    api: ApiUrlArgs,
}

/// Prints every order that is found. [`Exit::CheckFailed`] when one does not exist,
/// [`Exit::TimedOut`] when nobody knows yet.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let output = &context.output;
    let client = Client::new(args.api.api_url);
    let is_single = args.order_uids.len() == 1;
    let mut exit = Exit::Done;
    let mut entries: Vec<Entry> = Vec::new();
    for order_uid in &args.order_uids {
        let got = client.get(order_uid, args.wait);
        let got = got.map_err(|error| send::unreachable(&error, "looking orders up"))?;
        match settle(got, order_uid) {
            Ok(found) => {
                warn_of_age(output, &found);
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
            Err(missing) if is_single => return Err(missing.failure().into()),
            Err(missing) => {
                output.error(&missing.message, None);
                exit = worse(exit, missing.exit);
                entries.push(missing.into_entry(order_uid));
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

/// Why there is no order to print.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    exit: Exit,
    message: String,
}

impl Missing {
    fn into_entry(self, order_uid: &str) -> Entry {
        Entry::Missing {
            order_uid: order_uid.to_owned(),
            error: self.message,
        }
    }

    fn failure(self) -> Failure {
        let failure = Failure::new(self.exit, self.message);
        match self.exit {
            Exit::TimedOut => failure.hint("ask again, or let it wait with --wait 10s"),
            _ => failure,
        }
    }
}

fn settle(got: Got, order_uid: &str) -> Result<Box<Found>, Missing> {
    let (exit, message) = match got {
        Got::Found(found) => return Ok(found),
        Got::NotFound { detail } => (
            Exit::CheckFailed,
            format!("order `{order_uid}` was not found: {detail}"),
        ),
        Got::Pending(setback) => {
            let reason = setback.reason;
            (
                Exit::TimedOut,
                format!("order `{order_uid}` is not yet answered: {reason}"),
            )
        }
        Got::Refused { status, detail } => (
            Exit::Usage,
            format!("looking order `{order_uid}` up: refused ({status}): {detail}"),
        ),
    };
    Err(Missing { exit, message })
}

/// The exit code of several orders: what may still change (4) is said before what is known (3).
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::Done => 0,
        Exit::CheckFailed => 1,
        Exit::TimedOut => 2,
        _ => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn warn_of_age(output: &Output, found: &Found) {
    let order_uid = &found.order.order_uid;
    if let Some(records) = &found.behind {
        output.warn(&format!(
            "order `{order_uid}` is as stored, and the consumer is {records} records behind: a \
             newer version may be under way"
        ));
    }
    if found.is_unverified {
        output.warn(&format!(
            "order `{order_uid}` is from the API's cache, and the log cannot be asked for a newer \
             version now"
        ));
    }
}

/// Prints an order for people: what belongs together in one table, then a line for each item.
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
    use crate::client::Setback;

    #[test]
    fn what_is_not_found_and_what_is_not_known_yet_have_their_own_exit_codes() {
        let not_found = Got::NotFound {
            detail: "there is no such order".into(),
        };
        let message = "order `a` was not found: there is no such order".to_owned();
        let missing = Missing {
            exit: Exit::CheckFailed,
            message,
        };
        assert_eq!(settle(not_found, "a"), Err(missing));
        let pending = Got::Pending(Setback {
            reason: "wait".into(),
            retry_after: None,
        });
        assert_eq!(settle(pending, "a").unwrap_err().exit, Exit::TimedOut);
    }

    #[test]
    fn what_may_still_change_is_said_before_what_is_known() {
        assert_eq!(worse(Exit::CheckFailed, Exit::TimedOut), Exit::TimedOut);
        assert_eq!(worse(Exit::TimedOut, Exit::CheckFailed), Exit::TimedOut);
        assert_eq!(worse(Exit::Done, Exit::CheckFailed), Exit::CheckFailed);
        assert_eq!(worse(Exit::Usage, Exit::TimedOut), Exit::Usage);
    }
}
