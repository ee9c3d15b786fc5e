//! `orders migrate`: creates or updates the tables.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::commands::{Context, connect, open};
use crate::config::{DataArgs, StoreArgs, duration};
use crate::exit::Exit;
use crate::migrations::{self, MigrationState, MigrationStatus};
use crate::store::{Migration, Schema, StoreEngine};

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

    /// Write nothing; list what would be applied
    ///
    /// On PostgreSQL the migrations run in a transaction that is rolled back, with their locks.
    #[arg(long, conflicts_with = "status")]
    dry_run: bool,

    /// List the migrations; exit code 3 when one is pending
    #[arg(long)]
    status: bool,

    /// How long to wait for the database, and for another migration to end [default: 30s; one attempt
    /// with --status]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

/// Waits for the database, then applies, plans or lists migrations.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let is_log_named = context.settings.variable("KAFKA_BROKERS")?.is_some();
    let settings = args.store.resolve(&args.data, is_log_named)?;
    // Before the engine is opened: it reads its time limits.
    let wait = connect::wait(args.wait, args.status);
    let engine = open::store(&settings, context)?;
    let database = engine.describe();
    let mut schema = schema(&*engine, wait, context)?;

    let at_database = || format!("migrating the database `{database}`");
    let mut applied_now = Vec::new();
    if args.dry_run {
        let report = |text: &str| context.output.info(text);
        let pending = migrations::dry_run(&mut *schema, wait, &report);
        let pending = names(pending.with_context(at_database)?);
        context.output.info(&match pending.as_slice() {
            [] => "nothing to apply".to_owned(),
            pending => format!("would apply {}; nothing was written", pending.join(", ")),
        });
    } else if !args.status {
        let report = |text: &str| context.output.info(text);
        let applied = migrations::run(&mut *schema, wait, &report);
        applied_now = names(applied.with_context(at_database)?);
        if applied_now.is_empty() {
            context.output.info("nothing to apply");
        }
    }
    let history = schema.history().with_context(at_database)?;
    let statuses = migrations::statuses(&history, schema.dialect());
    report(context, &database, &statuses, &applied_now)?;
    let is_current = statuses
        .iter()
        .all(|it| it.state == MigrationState::Applied);
    Ok(match args.status && !is_current {
        true => Exit::CheckFailed,
        false => Exit::Done,
    })
}

fn names(files: Vec<&'static Migration>) -> Vec<&'static str> {
    files.into_iter().map(|file| file.name).collect()
}

/// Waits for the database and applies pending migrations.
pub(super) fn apply_pending(
    engine: &dyn StoreEngine,
    within: Duration,
    context: &Context,
) -> anyhow::Result<()> {
    let mut schema = schema(engine, within, context)?;
    let report = |text: &str| context.output.info(text);
    migrations::run(&mut *schema, within, &report)
        .with_context(|| format!("migrating the database `{}`", engine.describe()))?;
    Ok(())
}

fn schema(
    engine: &dyn StoreEngine,
    within: Duration,
    context: &Context,
) -> anyhow::Result<Box<dyn Schema>> {
    // Opening an embedded file reads nothing yet: the history does.
    connect::to_store(engine, within, context, || {
        let mut schema = engine.schema()?;
        schema.history()?;
        Ok(schema)
    })
}

fn report(
    context: &Context,
    database: &str,
    statuses: &[MigrationStatus],
    applied_now: &[&str],
) -> anyhow::Result<()> {
    if context.output.is_json() {
        let is_pending = |status: &&MigrationStatus| status.state == MigrationState::Pending;
        return context.output.json(&json!({
            "database": database,
            "migrations": statuses,
            "applied_now": applied_now,
            "pending": statuses.iter().filter(is_pending).count(),
        }));
    }
    let rows = statuses.iter().map(|status| {
        let applied_at = status.applied_at.clone().unwrap_or_default();
        vec![
            status.name.clone(),
            status.state.name().to_owned(),
            applied_at,
        ]
    });
    context
        .output
        .table(&["migration", "state", "applied at"], rows)
}
