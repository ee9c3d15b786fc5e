//! `orders dead-letters list`: by reason, or one a line.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::{FilterArgs, open_to_look};
use crate::commands::Context;
use crate::config::EngineArgs;
use crate::exit::Exit;
use crate::operations::dead_letters::{self, Group, Groups, Selection};
use crate::store::OperatorStore;
use crate::store::operator::dead_letters::{DeadLetterState, DeadLetterSummary};

/// How many ids a line of the table has.
const SHOWN_IDS: usize = 10;

/// How many dead letters `--each` lists.
const MAX_EACH: usize = 100_000;

/// The arguments of `orders dead-letters list`.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// One a line instead of by reason; at most 100,000
    #[arg(long)]
    each: bool,

    /// Open ones, resolved ones or all [default: open]
    #[arg(
        long,
        value_enum,
        value_name = "open|resolved|all",
        hide_possible_values = true
    )]
    state: Option<State>,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    engines: EngineArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum State {
    /// Those that count
    Open,
    /// Retried, outdated, discarded, erased
    Resolved,
    /// Both
    All,
}

impl From<State> for DeadLetterState {
    fn from(state: State) -> DeadLetterState {
        match state {
            State::Open => DeadLetterState::Open,
            State::Resolved => DeadLetterState::Resolved,
            State::All => DeadLetterState::All,
        }
    }
}

/// Lists the dead letters, in one attempt.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut store = open_to_look(&args.engines, context)?;
    let state = args.state.map_or(DeadLetterState::Open, Into::into);
    let selection = args.filters.selection(state);
    match args.each {
        true => each(&mut *store, &selection, context)?,
        false => by_reason(&mut *store, &selection, context)?,
    }
    Ok(Exit::Done)
}

fn by_reason(
    store: &mut dyn OperatorStore,
    selection: &Selection,
    context: &Context,
) -> anyhow::Result<()> {
    let (open, _) = store.open_dead_letters()?;
    let Groups { groups, left_out } = dead_letters::group(store, selection)?;
    let output = &context.output;
    if output.is_json() {
        let groups: Vec<Value> = groups.iter().map(document).collect();
        output.json(&json!({ "open": open, "groups": groups }))?;
    } else if groups.is_empty() {
        output.info("there are no such dead letters");
    } else {
        let headers = ["count", "newest", "reason", "ids"];
        output.table(&headers, groups.iter().map(row))?;
    }
    if left_out > 0 {
        let groups = dead_letters::MAX_GROUPS;
        output.warn(&format!(
            "{left_out} dead letters have reasons beyond the first {groups} and are left out: narrow \
             with --reason or --since"
        ));
    }
    Ok(())
}

fn document(group: &Group) -> Value {
    json!({
        "reason": group.reason,
        "count": group.count,
        "ids": group.ids,
        "newest": group.newest,
    })
}

fn row(group: &Group) -> Vec<String> {
    let shown: Vec<String> = group
        .ids
        .iter()
        .take(SHOWN_IDS)
        .map(i64::to_string)
        .collect();
    let mut ids = shown.join(" ");
    if group.count > SHOWN_IDS as u64 {
        ids.push_str(&format!(" … {} more", group.count - SHOWN_IDS as u64));
    }
    let newest = group.newest.to_string();
    vec![group.count.to_string(), newest, group.reason.clone(), ids]
}

fn each(
    store: &mut dyn OperatorStore,
    selection: &Selection,
    context: &Context,
) -> anyhow::Result<()> {
    let mut letters = Vec::new();
    let mut is_complete = true;
    dead_letters::for_each(store, selection, &mut |letter| {
        is_complete = letters.len() < MAX_EACH;
        match is_complete {
            true => letters.push(letter),
            false => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    })?;
    let output = &context.output;
    if output.is_json() {
        let letters: Vec<Value> = letters.iter().map(summary).collect();
        output.json(&json!({ "dead_letters": letters }))?;
    } else if letters.is_empty() {
        output.info("there are no such dead letters");
    } else {
        let headers = ["id", "record", "key", "order", "state", "dead at", "reason"];
        output.table(&headers, letters.iter().map(line))?;
    }
    if !is_complete {
        output.warn(&format!(
            "there are more than {MAX_EACH} such dead letters: narrow with --since, --until or --reason"
        ));
    }
    Ok(())
}

fn state(letter: &DeadLetterSummary) -> &str {
    letter.resolution.as_deref().unwrap_or("open")
}

/// Bytes that are not UTF-8 are replaced.
fn key(letter: &DeadLetterSummary) -> Option<String> {
    let key = letter.key.as_deref()?;
    Some(String::from_utf8_lossy(key).into_owned())
}

fn summary(letter: &DeadLetterSummary) -> Value {
    json!({
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": key(letter),
        "order_uid": letter.order_uid,
        "reason": letter.reason,
        "dead_at": letter.dead_at,
        "state": state(letter),
    })
}

fn line(letter: &DeadLetterSummary) -> Vec<String> {
    let (topic, partition, offset) = (&letter.topic, letter.partition, letter.offset);
    vec![
        letter.id.to_string(),
        format!("{topic}/{partition}/{offset}"),
        key(letter).unwrap_or_default(),
        letter.order_uid.clone().unwrap_or_default(),
        state(letter).to_owned(),
        letter.dead_at.to_string(),
        letter.reason.clone(),
    ]
}
