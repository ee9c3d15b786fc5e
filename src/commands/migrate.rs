//! `orders migrate`: makes or updates the tables.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::commands::{Context, connect, open};
use crate::config::{DataArgs, StoreArgs, duration};
use crate::exit::Exit;
use crate::migrations::{self, Line, Standing};
use crate::store::{Schema, StoreEngine};

const EXAMPLES: &str = "\
Examples:
  orders migrate              apply pending migrations, one transaction each
  orders migrate --dry-run    list what would be applied, write nothing
  orders migrate --status     list migrations; exit code 3 when one is pending

A database of go-orders is adopted with its rows; its programs go on working.";

/// The arguments of `orders migrate`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,

    /// Write nothing, not even the history table; say what would be applied
    #[arg(long, conflicts_with = "status")]
    dry_run: bool,

    /// List the migrations; exit code 3 when one is pending
    #[arg(long)]
    status: bool,

    /// How long to wait for the database, and for another migration to end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,
}

/// Waits for the database, then applies, plans or lists.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let is_log_named = context.settings.variable("KAFKA_BROKERS")?.is_some();
    let settings = args.store.resolve(&args.data, is_log_named)?;
    let engine = open::store(&settings)?;
    let database = engine.describe();
    let mut schema = schema(&*engine, args.wait, context)?;

    let at_database = || format!("migrating the database `{database}`");
    let before = schema.history().with_context(at_database)?;
    if args.status {
        let lines = migrations::survey(&before, schema.dialect());
        report(context, &database, &lines, &[])?;
        return Ok(verdict(&lines));
    }
    if args.dry_run {
        let planned = migrations::dry_run(&mut *schema).with_context(at_database)?;
        let names: Vec<&str> = planned.iter().map(|file| file.name).collect();
        context.output.info(&match names.as_slice() {
            [] => "nothing to apply".to_owned(),
            names => format!("would apply {}; nothing was written", names.join(", ")),
        });
        report(
            context,
            &database,
            &migrations::survey(&before, schema.dialect()),
            &[],
        )?;
        return Ok(Exit::Done);
    }
    let tell = |text: &str| context.output.info(text);
    let applied = migrations::run(&mut *schema, args.wait, &tell).with_context(at_database)?;
    let applied: Vec<&str> = applied.iter().map(|file| file.name).collect();
    if applied.is_empty() {
        context.output.info("nothing to apply");
    }
    let after = schema.history().with_context(at_database)?;
    report(
        context,
        &database,
        &migrations::survey(&after, schema.dialect()),
        &applied,
    )?;
    Ok(Exit::Done)
}

/// Applies what is pending, waiting for the database if need be; says each file.
pub(super) fn apply_pending(
    engine: &dyn StoreEngine,
    within: Duration,
    context: &Context,
) -> anyhow::Result<()> {
    let mut schema = schema(engine, within, context)?;
    let tell = |text: &str| context.output.info(text);
    migrations::run(&mut *schema, within, &tell)
        .with_context(|| format!("migrating the database `{}`", engine.describe()))?;
    Ok(())
}

fn schema(
    engine: &dyn StoreEngine,
    within: Duration,
    context: &Context,
) -> anyhow::Result<Box<dyn Schema>> {
    // The history is read, too: a file is opened before it is read.
    connect::to_store(engine, within, context, || {
        let mut schema = engine.schema()?;
        schema.history()?;
        Ok(schema)
    })
}

/// What `--status` answers: anything but a current schema is a no.
fn verdict(lines: &[Line]) -> Exit {
    if lines.iter().all(|line| line.standing == Standing::Applied) {
        Exit::Done
    } else {
        Exit::CheckFailed
    }
}

fn report(
    context: &Context,
    database: &str,
    lines: &[Line],
    applied_now: &[&str],
) -> anyhow::Result<()> {
    if context.output.is_json() {
        return context.output.json(&document(database, lines, applied_now));
    }
    let rows = lines.iter().map(|line| {
        let applied_at = line.applied_at.clone().unwrap_or_default();
        vec![
            line.name.clone(),
            line.standing.word().to_owned(),
            applied_at,
        ]
    });
    context
        .output
        .table(&["migration", "state", "applied at"], rows)
}

fn document(database: &str, lines: &[Line], applied_now: &[&str]) -> Value {
    let migrations: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "version": line.version,
                "name": line.name,
                "state": line.standing.word(),
                "applied_at": line.applied_at,
            })
        })
        .collect();
    let pending = lines
        .iter()
        .filter(|line| line.standing == Standing::Pending)
        .count();
    json!({
        "database": database,
        "migrations": migrations,
        "applied_now": applied_now,
        "pending": pending,
    })
}
