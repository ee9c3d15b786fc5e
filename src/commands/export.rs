//! `orders export`: writes every stored order as a line of JSON that `orders send` reads.
//!
//! Waits until the store has everything that the log had at the start, then reads one snapshot of the
//! store. An order that another program stored in a form which the API refuses is written as it is,
//! and reported: nothing is dropped.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use self::sink::Sink;
use self::waiting::{Topic, Waiting};
use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, duration};
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::order::{Order, Refusal};
use crate::shutdown::Shutdown;
use crate::store::{OrderStore, Snapshot, StoredDeadLetter};

mod letter;
mod sink;
mod target;
mod waiting;

const EXAMPLES: &str = "\
Examples:
  orders export > orders.ndjson
  orders export --to orders.ndjson --dead-letters dead.ndjson
  orders export | orders send - --api-url http://other:8080
  orders export --partial               without reading the log

It ends with exit code 3, and writes nothing, while records of the topic are not
stored yet, or when there are dead letters and no file for them; --partial
exports what is there. A file is written as FILE.part and renamed when it is
complete and on the disk. Orders that other programs left in a form which the API
refuses are written as they are, and named on stderr; NULL is written as \"\" or 0.";

/// How many refused orders are reported by uid; the rest is counted.
const MAX_REPORTED: u64 = 20;

/// The pause between two checks whether the store has caught up.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The arguments of `orders export`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// File for the orders; `-` is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: PathBuf,

    /// File for dead letters: records that are not orders, with offset and reason
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,

    /// Export what is stored, without checking that it is complete
    #[arg(long)]
    partial: bool,

    /// How long to wait for database and log, and for the store to catch up
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Waits until everything is stored, then writes it; [`Exit::CheckFailed`] when something is not.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if args.dead_letters.as_ref() == Some(&args.to) {
        let message = "`--to` and `--dead-letters` name the same file";
        return Err(Failure::usage(message).into());
    }
    let store_settings = args.engines.store()?;
    for path in [Some(&args.to), args.dead_letters.as_ref()]
        .into_iter()
        .flatten()
    {
        target::check(path, &args.engines.data_folder(), &store_settings)?;
    }
    let engine = open::store(&store_settings, context)?;
    let deadline = Instant::now() + args.wait;
    // Before the store is read: it must have every record that is acknowledged by now.
    let topic = (!args.partial)
        .then(|| read_ends(&args, context))
        .transpose()?;
    let mut store = connect::to_store(&*engine, args.wait, context, || engine.connect())?;
    let applied = store.applied_migrations();
    connect::check_schema(&applied.context("reading the migrations of the database")?)?;
    if let Some(topic) = &topic {
        catch_up(&mut *store, topic, deadline, context)?;
    }
    drop(store);
    // Until here a signal ends the process at once, and there is nothing to clean up.
    let shutdown = Shutdown::install(Duration::ZERO)?;
    let database = engine.describe();
    let at_database = || format!("reading the database `{database}`");
    let mut snapshot = engine.snapshot().with_context(at_database)?;
    if let Some(topic) = &topic {
        let positions = snapshot
            .positions(&topic.log_id)
            .with_context(at_database)?;
        refuse_waiting(topic, &topic.waiting(&positions))?;
    }
    let export = Export {
        args: &args,
        context,
        shutdown,
    };
    export.write(&mut *snapshot).with_context(at_database)
}

fn read_ends(args: &Args, context: &Context) -> anyhow::Result<Topic> {
    let settings = args.engines.log()?;
    let log = open::log(&settings, Reach::OtherProcesses, None)?;
    let hint = "start it, wait longer with --wait, or export what is stored with --partial";
    connect::to_log(&settings, hint, args.wait, context, || {
        Topic::read(&*log, &settings.topics.orders)
    })
}

/// Waits until the store has everything that the topic had, at most until the deadline.
fn catch_up(
    store: &mut dyn OrderStore,
    topic: &Topic,
    deadline: Instant,
    context: &Context,
) -> anyhow::Result<()> {
    let mut is_reported = false;
    loop {
        let mut positions = Vec::new();
        for partition in 0..topic.ranges.len() {
            let partition = i32::try_from(partition).context("counting partitions")?;
            positions.extend(store.position(&topic.log_id, partition)?);
        }
        let waiting = topic.waiting(&positions);
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return refuse_waiting(topic, &waiting);
        }
        if !std::mem::replace(&mut is_reported, true) {
            let text = waiting::text(&topic.name, &waiting);
            context
                .output
                .info(&format!("waiting until the consumer has stored {text}"));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn refuse_waiting(topic: &Topic, waiting: &[Waiting]) -> anyhow::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let text = waiting::text(&topic.name, waiting);
    let hint = "run `orders consume` until it has caught up, wait longer with --wait, or export \
                what is stored with --partial";
    let message = format!("not everything is stored: {text}");
    Err(Failure::new(Exit::CheckFailed, message).hint(hint).into())
}

/// A run after the check that the store is complete.
struct Export<'a> {
    args: &'a Args,
    context: &'a Context,
    shutdown: Shutdown,
}

impl Export<'_> {
    fn write(&self, snapshot: &mut dyn Snapshot) -> anyhow::Result<Exit> {
        let (orders, dead_letters) = snapshot.counts()?;
        if dead_letters > 0 && self.args.dead_letters.is_none() && !self.args.partial {
            let message = format!(
                "{dead_letters} dead letter(s), records that are not orders, would be left out"
            );
            let hint = "name a file for them with --dead-letters, or leave them out with --partial";
            return Err(Failure::new(Exit::CheckFailed, message).hint(hint).into());
        }
        // Both are opened before anything is written, so that a wrong path is an error at once.
        let mut to = Sink::open(&self.args.to, &self.context.output)?;
        let letters_to = self.args.dead_letters.as_deref();
        let mut letters_to = letters_to.map(Sink::file).transpose()?;

        let (refused, is_complete) = self.write_orders(snapshot, orders, &mut to)?;
        if !is_complete {
            return Ok(self.stopped());
        }
        if let Some(sink) = &mut letters_to {
            self.write_letters(snapshot, dead_letters, sink)?;
        }
        if self.shutdown.is_requested() {
            return Ok(self.stopped());
        }
        if let Some(sink) = letters_to {
            sink.finish()?;
        }
        to.finish()?;
        self.report(orders, refused, dead_letters)?;
        Ok(Exit::Done)
    }

    /// Writes the orders: how many of them the API would refuse, and whether all were written.
    fn write_orders(
        &self,
        snapshot: &mut dyn Snapshot,
        total: u64,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<(u64, bool)> {
        let mut progress = self.context.output.progress("orders", total);
        let (mut refused, mut failed, mut is_complete) = (0, None, true);
        snapshot.for_each_order(&mut |order| {
            let mut line = order.encode();
            if let Err(refusal) = Order::decode(&line) {
                refused += 1;
                self.report_refused(&order, &refusal, refused);
            }
            line.push(b'\n');
            is_complete = match sink.write(&line) {
                Ok(is_open) => is_open && !self.shutdown.is_requested(),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            progress.inc();
            match is_complete {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        failed.map_or(Ok((refused, is_complete)), Err)
    }

    fn write_letters(
        &self,
        snapshot: &mut dyn Snapshot,
        total: u64,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<()> {
        let mut progress = self.context.output.progress("dead letters", total);
        let mut failed = None;
        snapshot.for_each_dead_letter(&mut |letter: StoredDeadLetter| {
            progress.inc();
            match sink.write(&letter::line(&letter)) {
                Ok(true) if !self.shutdown.is_requested() => return ControlFlow::Continue(()),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            ControlFlow::Break(())
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Warns of the refused order number `count`.
    fn report_refused(&self, order: &Order, refusal: &Refusal, count: u64) {
        let output = &self.context.output;
        if count <= MAX_REPORTED {
            // Everything else is written as it is stored.
            let how = match order.date_created.0 {
                Some(_) => "as it is stored",
                None => "with the date \"\", as it has none that RFC 3339 can write",
            };
            output.warn(&format!(
                "the order `{}` is exported {how}, and the API would refuse it: {refusal}",
                order.order_uid.escape_debug()
            ));
        } else if count == MAX_REPORTED + 1 {
            output.warn("the API would refuse more orders; they are counted at the end");
        }
    }

    /// The exit code after a signal or a closed pipe.
    fn stopped(&self) -> Exit {
        if self.shutdown.is_requested() {
            self.context
                .output
                .warn("stopped before everything was exported");
            return Exit::Interrupted;
        }
        Exit::Done
    }

    fn report(&self, orders: u64, refused: u64, dead_letters: u64) -> anyhow::Result<()> {
        let output = &self.context.output;
        let letters_to = self.args.dead_letters.as_deref();
        if refused > 0 {
            output.warn(&format!(
                "{refused} of {orders} orders are stored in a form that the API would refuse"
            ));
        }
        if dead_letters > 0 && letters_to.is_none() {
            output.warn(&format!("{dead_letters} dead letter(s) were left out"));
        }
        let exported = letters_to.map_or(0, |_| dead_letters);
        if output.is_json() && self.args.to != Path::new(sink::STDOUT) {
            return output.json(&json!({
                "orders": orders,
                "not_sendable": refused,
                "dead_letters": exported,
                "dead_letters_left_out": dead_letters - exported,
            }));
        }
        let letters = letters_to.map_or(String::new(), |_| format!(", {exported} dead letter(s)"));
        output.info(&format!("exported {orders} order(s){letters}"));
        Ok(())
    }
}
