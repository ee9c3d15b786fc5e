//! `orders list`: the orders that were accepted last, those of a customer, those of a track number.
//!
//! Reads the database alone, by its indexes. Names, phones, addresses and e-mail are not among the
//! columns.

use serde_json::{Value, json};

use crate::commands::{Context, connect, open};
use crate::config::{DataArgs, StoreArgs, time};
use crate::exit::Exit;
use crate::order::Timestamp;
use crate::store::{ListedOrder, OrderFilter};

const EXAMPLES: &str = "\
Examples:
  orders list                                  the 20 accepted last
  orders list --customer test --since -1h      those of a customer in the last hour
  orders list --track WBILMTESTTRACK --format wide
  orders list --latest 500 --format uid | xargs orders get

Orders that other programs wrote have no accept time and come last; --since and
--until leave them out.";

/// How the orders are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A table
    Table,
    /// A table with all columns
    Wide,
    /// One uid a line
    Uid,
    /// One JSON document a line
    Ndjson,
}

/// The arguments of `orders list`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// At most so many orders, the newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    latest: u32,

    /// Only orders with this customer_id
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<String>,

    /// Only orders with this track_number
    #[arg(long, value_name = "NUMBER")]
    track: Option<String>,

    /// Only orders accepted since: 2026-11-27, 2026-11-27T08:00:00Z or -1h
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Only orders accepted before
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// How to print them
    #[arg(long, value_enum, default_value = "table", conflicts_with = "output")]
    #[arg(value_name = "table|wide|uid|ndjson", hide_possible_values = true)]
    format: Format,

    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,
}

/// Lists orders, in one attempt.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let is_log_named = context.settings.variable("KAFKA_BROKERS")?.is_some();
    let settings = args.store.resolve(&args.data, is_log_named)?;
    let wait = connect::wait(None, true);
    let mut store = open::operator(&settings, wait, context)?;
    let orders = store.list_orders(&OrderFilter {
        customer_id: args.customer,
        track_number: args.track,
        since_us: args.since.and_then(|since| since.0),
        until_us: args.until.and_then(|until| until.0),
        limit: args.latest as usize,
    })?;
    let output = &context.output;
    if output.is_json() {
        let orders: Vec<Value> = orders.iter().map(document).collect();
        output.json(&json!({ "orders": orders }))?;
        return Ok(Exit::Done);
    }
    match args.format {
        Format::Table => output.table(&HEADERS[..5], orders.iter().map(|it| row(it, 5)))?,
        Format::Wide => {
            let all = HEADERS.len();
            output.table(&HEADERS, orders.iter().map(|it| row(it, all)))?;
        }
        Format::Uid => {
            let lines: String = orders
                .iter()
                .map(|it| format!("{}\n", it.order_uid))
                .collect();
            output.lines(lines.as_bytes())?;
        }
        Format::Ndjson => {
            let lines: String = orders
                .iter()
                .map(|it| format!("{}\n", document(it)))
                .collect();
            output.lines(lines.as_bytes())?;
        }
    }
    Ok(Exit::Done)
}

const HEADERS: [&str; 9] = [
    "order",
    "accepted at",
    "customer",
    "amount",
    "items",
    "currency",
    "track number",
    "delivery service",
    "date created",
];

/// The first `columns` cells of an order.
fn row(order: &ListedOrder, columns: usize) -> Vec<String> {
    let mut row = vec![
        order.order_uid.clone(),
        order.accepted_at.to_string(),
        order.customer_id.clone(),
        order.amount.to_string(),
        order.items.to_string(),
        order.currency.clone(),
        order.track_number.clone(),
        order.delivery_service.clone(),
        order.date_created.to_string(),
    ];
    row.truncate(columns);
    row
}

fn document(order: &ListedOrder) -> Value {
    let time = |time: Timestamp| time.0.map(|_| time.to_string());
    json!({
        "order_uid": order.order_uid,
        "track_number": order.track_number,
        "customer_id": order.customer_id,
        "delivery_service": order.delivery_service,
        "amount": order.amount,
        "currency": order.currency,
        "items": order.items,
        "date_created": time(order.date_created),
        "accepted_at": time(order.accepted_at),
    })
}
