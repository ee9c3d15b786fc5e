//! `orders dead-letters show`: everything known of one.

use serde_json::json;

use super::{open_to_look, payload};
use crate::commands::Context;
use crate::config::EngineArgs;
use crate::exit::{Exit, Failure};
use crate::order::{Fault, Order, Refusal};
use crate::store::operator::dead_letters::FoundDeadLetter;

const EXAMPLES: &str = "\
Examples:
  orders dead-letters show 17
  orders dead-letters show 17 --reveal

Names, phones, addresses and e-mail, and fields that no order has, are shown as ***
unless --reveal; so is a payload that is not JSON.";

/// The arguments of `orders dead-letters show`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Its id, as `list` prints it
    id: i64,

    /// Show personal data
    #[arg(long)]
    reveal: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Prints one dead letter, in one attempt. [`Exit::CheckFailed`] when there is none with this id.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut store = open_to_look(&args.engines, context)?;
    let id = args.id;
    let Some(found) = store.dead_letter(id)? else {
        let message = format!("there is no dead letter {id}");
        return Err(Failure::new(Exit::CheckFailed, message).into());
    };
    let refusal = refusal(&found);
    let faults = refusal.as_ref().map_or(&[][..], |it| &it.faults);
    match context.output.is_json() {
        true => print_json(&found, faults, args.reveal, context)?,
        false => print(&found, faults, args.reveal, context)?,
    }
    Ok(Exit::Done)
}

/// Why it is not an order by the rules of today; `None` when it is one.
fn refusal(found: &FoundDeadLetter) -> Option<Refusal> {
    let payload = found.letter.payload.as_deref().unwrap_or_default();
    match found.is_head() {
        true => None,
        false => Order::decode(payload).err(),
    }
}

fn print(
    found: &FoundDeadLetter,
    faults: &[Fault],
    reveal: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let letter = &found.letter;
    let key = letter.key.as_deref().map(payload::text).unwrap_or_default();
    let (topic, partition, offset) = (&letter.topic, letter.partition, letter.offset);
    let mut rows = vec![
        ["record", &format!("{topic}/{partition}/{offset}")].map(str::to_owned),
        ["key", &key].map(str::to_owned),
        ["order", letter.order_uid.as_deref().unwrap_or_default()].map(str::to_owned),
        ["reason", &letter.reason].map(str::to_owned),
        ["accepted at", &letter.accepted_at.to_string()].map(str::to_owned),
        ["dead at", &letter.dead_at.to_string()].map(str::to_owned),
    ];
    let mut row = |name: &str, value: &str| rows.push([name, value].map(str::to_owned));
    match &found.resolved {
        None => row("state", "open"),
        Some(resolved) => {
            row("state", &resolved.resolution);
            row("resolved at", &resolved.at.to_string());
            row("resolved by", &resolved.by);
            row("why", &resolved.why);
        }
    }
    row("bytes", &letter.payload_bytes.to_string());
    row("SHA-256", &payload::digest(letter));
    let header = found.id.to_string();
    let output = &context.output;
    output.table(&["dead letter", &header], rows.into_iter().map(Vec::from))?;
    output.data("")?;
    output.data(&payload::shown(found, faults, reveal))
}

fn print_json(
    found: &FoundDeadLetter,
    faults: &[Fault],
    reveal: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let letter = &found.letter;
    let resolved = found.resolved.as_ref();
    context.output.json(&json!({
        "id": found.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": letter.key.as_deref().map(payload::text),
        "order_uid": letter.order_uid,
        "reason": letter.reason,
        "accepted_at": letter.accepted_at,
        "dead_at": letter.dead_at,
        "state": resolved.map_or("open", |it| &it.resolution),
        "resolved_at": resolved.map(|it| it.at),
        "resolved_by": resolved.map(|it| &it.by),
        "resolved_why": resolved.map(|it| &it.why),
        "payload_bytes": letter.payload_bytes,
        "payload_sha256": payload::digest(letter),
        "faults": faults,
        "payload": payload::document(found, reveal),
    }))
}
