//! `orders replay`: applies records of the log again.
//!
//! Moves positions back; running consumers take them up by themselves. With `--uid` it applies the
//! records of single orders itself, and no position moves. Harmless: no older version
//! overwrites a newer one. It brings back what was deleted from the database by hand, or lost with a
//! restore from an older backup.

use std::str::FromStr;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::commands::confirm::confirm;
use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, time};
use crate::event_log::sqlite::Reach;
use crate::event_log::{EventLog, LogError};
use crate::exit::{Exit, Failure};
use crate::operations::actor::actor;
use crate::operations::gaps::{self, Topic};
use crate::operations::replay::{self, Replay};
use crate::order::Timestamp;
use crate::pipeline::PartitionOffset;
use crate::store::{Change, PositionMove};

mod uids;

const EXAMPLES: &str = "\
Examples:
  orders replay --since -2h           every partition, from two hours ago
  orders replay --from 3@1200         partition 3, from offset 1200
  orders replay --from 0@0 --from 1@0 --yes
  orders replay --uid b563feb7b2b84b6test --why \"deleted by hand\"

Nothing is lost or doubled by it: an order that is stored in a newer version stays
as it is, and one that was erased stays away. Consumers need not be stopped.
With --uid the records of these orders are applied at once, and no position moves:
the partitions of their keys are read, a second for each 100,000 records. Exit
code 3 when no record of a uid was found.";

/// What clap writes is longer than a line.
const USAGE: &str = "orders replay [OPTIONS] <--since TIME|--from PARTITION@OFFSET|--uid UID>";

/// A partition and an offset: `3@1200`.
#[derive(Clone, Copy, Debug)]
struct From(PartitionOffset);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let parse = || {
            let (partition, offset) = text.split_once('@')?;
            let partition = partition.parse().ok().filter(|it| *it >= 0)?;
            let offset = offset.parse().ok().filter(|it| *it >= 0)?;
            Some(From(PartitionOffset::new(partition, offset)))
        };
        parse().ok_or_else(|| format!("`{text}` is not a partition and an offset, such as 3@1200"))
    }
}

/// The arguments of `orders replay`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(override_usage = USAGE)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["since", "from", "uid"]))]
pub struct Args {
    /// Records written to the log since: 2026-11-27, 2026-11-27T08:00:00Z or -1h
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Records of one partition from an offset on, repeatable
    #[arg(long, value_name = "PARTITION@OFFSET")]
    from: Vec<From>,

    /// Records of one order, repeatable
    #[arg(long, value_name = "UID")]
    uid: Vec<String>,

    /// With `--uid`: read the whole topic, under any key
    #[arg(long, requires = "uid")]
    scan: bool,

    /// Why, kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    #[arg(hide_default_value = true)]
    why: String,

    /// List what would be applied again, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Moves the positions back, or applies the records of single orders.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if !args.uid.is_empty() {
        return uids::run(&args, context);
    }
    let settings = args.engines.log()?;
    let store = args.engines.store()?;
    let wait = connect::wait(None, true);
    let mut store = open::operator(&store, wait, context)?;
    let log = open::log(&settings, Reach::OtherProcesses, None)?;
    let name = &settings.topics.orders;
    let hint = "start it, or name another in KAFKA_BROKERS";
    let (topic, wanted) = connect::to_log(&settings, hint, wait, context, || {
        let topic = gaps::find_all(&*log, name)?;
        let wanted = wanted(&args, &*log, name, &topic)?;
        Ok((topic, wanted))
    })?;
    if let Some(missing) = missing(&topic, &wanted) {
        let message = format!("topic `{name}` has no partition {missing}");
        return Err(Failure::usage(message).into());
    }
    let positions = store
        .positions(&topic.log_id)
        .context("reading the positions")?;
    let replays = replay::plan(&topic, &positions, &wanted);
    report(&replays, args.dry_run, context)?;
    let records: i64 = replays.iter().map(|it| it.to - it.from).sum();
    if replays.is_empty() || args.dry_run {
        return Ok(Exit::Done);
    }
    let question = format!("apply the records of {records} offsets again");
    if !confirm(&question, args.yes, context)? {
        return Ok(Exit::Done);
    }
    let moves = replays
        .iter()
        .map(|replay| replay::position_move(&*log, name, &topic, replay))
        .collect::<Result<Vec<PositionMove>, LogError>>()
        .context("reading the records before those that are applied again")?;
    let change = Change {
        by: &actor(),
        why: &args.why,
    };
    let moved = store
        .move_back(&moves, &change)
        .context("moving the positions")?;
    let left = moved.iter().filter(|before| before.is_none()).count();
    if left > 0 {
        let message = format!("{left} position(s) changed meanwhile and were left as they are");
        let failure = Failure::new(Exit::Failed, message);
        return Err(failure.hint("run it again").into());
    }
    context
        .output
        .info("moved back; running consumers apply the records now, `orders lag` shows how far");
    Ok(Exit::Done)
}

fn wanted(
    args: &Args,
    log: &dyn EventLog,
    name: &str,
    topic: &Topic,
) -> Result<Vec<PartitionOffset>, LogError> {
    let Some(Timestamp(Some(since_us))) = args.since else {
        return Ok(args.from.iter().map(|From(start)| *start).collect());
    };
    let offsets = log.offsets_since(name, since_us.div_euclid(1_000))?;
    let partitions = topic.ranges.iter().map(|(partition, _)| *partition);
    let starts = partitions.zip(offsets);
    Ok(starts
        .map(|(partition, offset)| PartitionOffset::new(partition, offset))
        .collect())
}

fn missing(topic: &Topic, wanted: &[PartitionOffset]) -> Option<i32> {
    let exists = |wanted: &&PartitionOffset| {
        let mut partitions = topic.ranges.iter();
        partitions.any(|(partition, _)| *partition == wanted.partition)
    };
    let missing = wanted.iter().find(|wanted| !exists(wanted))?;
    Some(missing.partition)
}

fn report(replays: &[Replay], is_dry_run: bool, context: &Context) -> anyhow::Result<()> {
    let output = &context.output;
    if output.is_json() {
        let replays: Vec<Value> = replays.iter().map(document).collect();
        return output.json(&json!({ "partitions": replays, "dry_run": is_dry_run }));
    }
    if replays.is_empty() {
        output.info("nothing to apply again: no position is past these offsets");
        return Ok(());
    }
    let row = |replay: &Replay| {
        vec![
            replay.partition.to_string(),
            replay.from.to_string(),
            replay.to.to_string(),
            (replay.to - replay.from).to_string(),
        ]
    };
    output.table(
        &["partition", "from", "to", "offsets"],
        replays.iter().map(row),
    )?;
    for replay in replays.iter().filter(|replay| replay.is_shortened) {
        let (partition, from) = (replay.partition, replay.from);
        output.warn(&format!(
            "partition {partition}: records before offset {from} are no longer in the log"
        ));
    }
    Ok(())
}

fn document(replay: &Replay) -> Value {
    json!({
        "partition": replay.partition,
        "from": replay.from,
        "to": replay.to,
        "shortened": replay.is_shortened,
    })
}
