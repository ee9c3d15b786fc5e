//! `orders export`: writes every stored order as JSON, one a line, in the form that `orders send`
//! reads.
//!
//! It first makes sure that the store has all that the log had when it began, then looks at the
//! store at one moment, so that what is written belongs together. An order that another program
//! left in a form which the API would refuse is written too, and named: nothing is dropped.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use self::sink::Sink;
use self::waiting::{Topic, Waiting};
use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, duration};
use crate::exit::{Exit, Failure};
use crate::migrations::{self, SchemaState};
use crate::order::{Fault, Order};
use crate::shutdown::Shutdown;
use crate::store::{OrderStore, Snapshot, StoredDeadLetter};

mod letter;
mod sink;
mod waiting;

const EXAMPLES: &str = "\
Examples:
  orders export > orders.ndjson
  orders export --to orders.ndjson --dead-letters dead.ndjson
  orders export | orders send - --api-url http://other:8080
  orders export --partial               without asking the log

It ends with exit code 3, and writes nothing, while records of the topic are not
stored yet, or when there are dead letters and no file for them; --partial
exports what is there. A file is written as FILE.part and renamed when it is
complete and on the disk. Orders that other programs left in a form which the API
refuses are written as they are, and named on stderr.";

/// How many odd orders are named; the others are counted.
const NAMED: u64 = 20;

/// How often the store is asked whether it has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The arguments of `orders export`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where the orders go; `-` is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: PathBuf,

    /// Where the dead letters go: records that could not become orders, with place and reason
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,

    /// Export what is stored, without asking whether that is all
    #[arg(long)]
    partial: bool,

    /// How long to wait for database and log, and for the store to have what the topic has
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Waits until everything is stored, then writes it. [`Exit::CheckFailed`] when something is not.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if args.dead_letters.as_ref() == Some(&args.to) {
        let message = "`--to` and `--dead-letters` name the same file";
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let engine = open::store(&args.engines.store()?)?;
    let deadline = Instant::now() + args.wait;
    // Before the store is looked at: what was acknowledged by now is what must be in it.
    let topic = match args.partial {
        true => None,
        false => Some(asked_log(&args, context)?),
    };
    let mut store = connect::to_store(&*engine, args.wait, context, || engine.connect())?;
    check_schema(&mut *store)?;
    if let Some(topic) = &topic {
        catch_up(&mut *store, topic, deadline, context)?;
    }
    drop(store);
    // Until here a signal ends the process at once, and leaves nothing behind.
    let shutdown = Shutdown::install()?;
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

fn asked_log(args: &Args, context: &Context) -> anyhow::Result<Topic> {
    let settings = args.engines.log()?;
    let log = open::log(&settings)?;
    let hint = "start it, wait longer with --wait, or export what is there with --partial";
    connect::to_log(&settings, hint, args.wait, context, || {
        Topic::read(&*log, &settings.topics.orders)
    })
}

fn check_schema(store: &mut dyn OrderStore) -> anyhow::Result<()> {
    let applied = store
        .applied_migrations()
        .context("reading which migrations the database has")?;
    let (message, hint) = match migrations::state(&applied) {
        SchemaState::Current => return Ok(()),
        SchemaState::Pending(_) => (
            "the database lacks tables, or columns of them",
            "run `orders migrate`",
        ),
        SchemaState::Newer => (
            "the database has migrations that this program does not know",
            "use the program that applied them",
        ),
    };
    Err(Failure::new(Exit::CheckFailed, message).hint(hint).into())
}

/// Waits until the store has what the topic had, at most until the deadline.
fn catch_up(
    store: &mut dyn OrderStore,
    topic: &Topic,
    deadline: Instant,
    context: &Context,
) -> anyhow::Result<()> {
    let mut mentioned = false;
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
        if !std::mem::replace(&mut mentioned, true) {
            let text = waiting::text(&topic.name, &waiting);
            context
                .output
                .info(&format!("waiting until the consumer has stored {text}"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn refuse_waiting(topic: &Topic, waiting: &[Waiting]) -> anyhow::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let text = waiting::text(&topic.name, waiting);
    let hint = "run `orders consume` until it has caught up, wait longer with --wait, or export \
                what is stored with --partial";
    Err(Failure::new(
        Exit::CheckFailed,
        format!("not everything is stored: {text}"),
    )
    .hint(hint)
    .into())
}

/// One run, from the moment on that everything is known to be there.
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
                "{dead_letters} dead letter(s), records that could not become orders, would be \
                 left out"
            );
            let hint = "name a file for them with --dead-letters, or leave them out with --partial";
            return Err(Failure::new(Exit::CheckFailed, message).hint(hint).into());
        }
        // Both are opened before anything is written, so that a wrong name costs nothing.
        let mut to = Sink::open(&self.args.to, &self.context.output)?;
        let letters_to = self.args.dead_letters.as_deref();
        let mut letters_to = letters_to.map(Sink::file).transpose()?;

        let (odd, complete) = self.write_orders(snapshot, orders, &mut to)?;
        if !complete {
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
        self.report(orders, odd, dead_letters)?;
        Ok(Exit::Done)
    }

    /// How many orders were odd, and whether all were written.
    fn write_orders(
        &self,
        snapshot: &mut dyn Snapshot,
        total: u64,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<(u64, bool)> {
        let progress = self.context.output.progress("orders", Some(total));
        let (mut odd, mut trouble, mut complete) = (0, None, true);
        snapshot.for_each_order(&mut |order| {
            let mut line = order.encode();
            if let Some(reason) = oddity(&line) {
                odd += 1;
                self.name(&order, &reason, odd);
            }
            line.push(b'\n');
            let go_on = match sink.write(&line) {
                Ok(is_read) => is_read && !self.shutdown.is_requested(),
                Err(error) => {
                    trouble = Some(error);
                    false
                }
            };
            progress.inc(1);
            complete = go_on;
            if go_on {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        progress.finish();
        match trouble {
            Some(error) => Err(error),
            None => Ok((odd, complete)),
        }
    }

    fn write_letters(
        &self,
        snapshot: &mut dyn Snapshot,
        total: u64,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<()> {
        let progress = self.context.output.progress("dead letters", Some(total));
        let mut trouble = None;
        snapshot.for_each_dead_letter(&mut |letter: StoredDeadLetter| {
            progress.inc(1);
            match sink.write(&letter::line(&letter)) {
                Ok(true) if !self.shutdown.is_requested() => return ControlFlow::Continue(()),
                Ok(_) => {}
                Err(error) => trouble = Some(error),
            }
            ControlFlow::Break(())
        })?;
        progress.finish();
        trouble.map_or(Ok(()), Err)
    }

    fn name(&self, order: &Order, reason: &str, count: u64) {
        let output = &self.context.output;
        if count <= NAMED {
            output.warn(&format!(
                "the order `{}` is exported as it is stored, and `orders send` will not be able to \
                 send it: {reason}",
                order.order_uid.escape_debug()
            ));
        } else if count == NAMED + 1 {
            output.warn("more orders are like that; they are counted at the end");
        }
    }

    /// Stopped by a signal, or by a reader that has enough.
    fn stopped(&self) -> Exit {
        if self.shutdown.is_requested() {
            self.context
                .output
                .warn("stopped before everything was exported");
            return Exit::Interrupted;
        }
        Exit::Done
    }

    fn report(&self, orders: u64, odd: u64, dead_letters: u64) -> anyhow::Result<()> {
        let output = &self.context.output;
        let letters_to = self.args.dead_letters.as_deref();
        if odd > 0 {
            output.warn(&format!(
                "{odd} of {orders} orders are stored in a form that `orders send` cannot send"
            ));
        }
        if dead_letters > 0 && letters_to.is_none() {
            output.warn(&format!("{dead_letters} dead letter(s) were left out"));
        }
        let kept = letters_to.map_or(0, |_| dead_letters);
        if output.is_json() && self.args.to != Path::new(sink::STDOUT) {
            return output.json(&json!({
                "orders": orders,
                "not_sendable": odd,
                "dead_letters": kept,
                "dead_letters_left_out": dead_letters - kept,
            }));
        }
        let letters = letters_to.map_or(String::new(), |_| format!(", {kept} dead letter(s)"));
        output.info(&format!("exported {orders} order(s){letters}"));
        Ok(())
    }
}

/// Why the API would refuse this order; `None` when it would not.
fn oddity(document: &[u8]) -> Option<String> {
    let refusal = Order::decode(document).err()?;
    let faults: Vec<String> = refusal.faults.iter().map(Fault::to_string).collect();
    Some(faults.join("; "))
}
