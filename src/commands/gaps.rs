//! `orders gaps`: offsets that were never applied, and what an operator decides about them.
//!
//! Retention may delete records before they are read. Such a partition stops, because only an operator
//! may skip acknowledged orders: `gaps accept` writes the decision into the database, and the consumer
//! reads on.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::commands::confirm::confirm;
use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, LogSettings};
use crate::consumer::AcceptedGap;
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::operations::actor::actor;
use crate::operations::gaps::{self, Gap, GapState};
use crate::store::{Change, OperatorStore};

const EXAMPLES: &str = "\
Examples:
  orders gaps                            what waits for a decision, what was passed
  orders gaps accept orders/3:100-249    go on without these records

Both offsets are inclusive. Accept a gap only when the records are lost for good:
with a backup of the topic, restore them first.";

/// How many gaps of the past are listed.
const RECORDED: usize = 1_000;

/// The arguments of `orders gaps`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    engines: EngineArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the gaps (the default)
    List {
        #[command(flatten)]
        engines: EngineArgs,
    },
    /// Let the consumer go on after a gap
    Accept(Accept),
}

/// The arguments of `orders gaps accept`.
#[derive(clap::Args)]
struct Accept {
    /// The gap, as `orders gaps` prints it
    #[arg(value_name = "TOPIC/PARTITION:FROM-TO")]
    gap: AcceptedGap,

    /// Why, kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    #[arg(hide_default_value = true)]
    why: String,

    /// Only check that there is such a gap
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Lists the gaps, or accepts one.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        None => list(&args.engines, context),
        Some(Command::List { engines }) => list(&engines, context),
        Some(Command::Accept(args)) => accept(&args, context),
    }
}

fn list(engines: &EngineArgs, context: &Context) -> anyhow::Result<Exit> {
    let (log, mut store) = open(engines, context)?;
    let gaps = read(&log, &mut *store, context)?;
    let topic = &log.topics.orders;
    let output = &context.output;
    if output.is_json() {
        let gaps: Vec<Value> = gaps.iter().map(|gap| document(topic, gap)).collect();
        output.json(&json!({ "gaps": gaps }))?;
        return Ok(Exit::Done);
    }
    if gaps.is_empty() {
        output.info("there are no gaps");
        return Ok(Exit::Done);
    }
    let headers = ["gap", "records", "state", "noted at", "reason"];
    output.table(&headers, gaps.iter().map(|gap| row(topic, gap)))?;
    for gap in gaps.iter().filter(|gap| gap.state == GapState::Waits) {
        let name = name(topic, gap);
        output.warn(&format!(
            "partition {} is stopped; to go on without these records: orders gaps accept {name}",
            gap.partition
        ));
    }
    Ok(Exit::Done)
}

fn row(topic: &str, gap: &Gap) -> Vec<String> {
    let records = gap.to.map(|to| (to - gap.from).to_string());
    vec![
        name(topic, gap),
        records.unwrap_or_else(|| "unknown".into()),
        gap.state.name().into(),
        gap.noted_at.to_string(),
        gap.reason.clone(),
    ]
}

/// The gap as `gaps accept` takes it, with both offsets inclusive.
fn name(topic: &str, gap: &Gap) -> String {
    let to = gap.to.map(|to| (to - 1).to_string()).unwrap_or_default();
    format!("{topic}/{}:{}-{to}", gap.partition, gap.from)
}

fn document(topic: &str, gap: &Gap) -> Value {
    json!({
        "topic": topic,
        "partition": gap.partition,
        "from": gap.from,
        "to": gap.to.map(|to| to - 1),
        "state": gap.state.name(),
        "reason": gap.reason,
        "noted_at": gap.noted_at.0.map(|_| gap.noted_at.to_string()),
    })
}

fn accept(args: &Accept, context: &Context) -> anyhow::Result<Exit> {
    let gap = &args.gap;
    let (settings, mut store) = open(&args.engines, context)?;
    let topic = &settings.topics.orders;
    if gap.topic != *topic {
        let message = format!("`{gap}`: the topic of the orders is `{topic}`");
        return Err(Failure::usage(message).into());
    }
    let log = open::log(&settings, Reach::OtherProcesses, None)?;
    let found = connect::to_log(&settings, HINT, connect::wait(None, true), context, || {
        gaps::find(&*log, topic, gap.partition)
    })?;
    let positions = store.positions(&found.log_id)?;
    let position = positions
        .iter()
        .map(|owned| &owned.position)
        .find(|position| position.partition == gap.partition);
    let Some(position) = gaps::acceptable(position, &found, gap.from, gap.to) else {
        let waiting = position.and_then(|position| gaps::waiting(position, &found));
        let hint = match waiting {
            Some((from, to)) => format!(
                "the gap that waits is {topic}/{}:{from}-{}",
                gap.partition,
                to - 1
            ),
            None => "`orders gaps` lists them".into(),
        };
        let message = format!("no gap `{gap}` waits for a decision");
        return Err(Failure::new(Exit::CheckFailed, message).hint(hint).into());
    };
    let records = gap.to - gap.from + 1;
    if args.dry_run {
        let text = format!("would go on without {records} records of `{gap}`; nothing was changed");
        context.output.info(&text);
        return Ok(Exit::Done);
    }
    let question = format!("go on without {records} records of `{gap}`");
    if !confirm(&question, args.yes, context)? {
        return Ok(Exit::Done);
    }
    let change = Change {
        by: &actor(),
        why: &args.why,
    };
    let is_new = store
        .accept_gap(position, gap.from, gap.to + 1, &change)
        .context("writing the decision")?;
    context.output.info(match is_new {
        true => "accepted; a running consumer goes on within a few seconds",
        false => "it was accepted before; a running consumer goes on within a few seconds",
    });
    Ok(Exit::Done)
}

const HINT: &str = "start it, or name another in KAFKA_BROKERS";

fn open(
    engines: &EngineArgs,
    context: &Context,
) -> anyhow::Result<(LogSettings, Box<dyn OperatorStore>)> {
    let log = engines.log()?;
    let store = engines.store()?;
    let wait = connect::wait(None, true);
    Ok((log, open::operator(&store, wait, context)?))
}

/// All gaps; those that wait for a decision cannot be known while the log is away.
fn read(
    settings: &LogSettings,
    store: &mut dyn OperatorStore,
    context: &Context,
) -> anyhow::Result<Vec<Gap>> {
    let topic = &settings.topics.orders;
    let log = open::log(settings, Reach::OtherProcesses, None)?;
    let found = connect::to_log(settings, HINT, connect::wait(None, true), context, || {
        gaps::find_all(&*log, topic)
    })?;
    gaps::list(store, &found, RECORDED).context("reading the gaps")
}
