//! The schema's migrations: the files, the plan, and the run that applies it.
//!
//! Owns the embedded files of `migrations/`, their checksums and the pure plan: which files are
//! pending. The engine applies one ([`Schema`]). Each dialect has files of the same numbers and
//! names. Blocks; waits are bounded by the caller's limit.

use std::fmt;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::store::{AppliedMigration, Dialect, Migration, Schema, StoreError};

/// The pause between two attempts to get a lock.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The lines at the head of a file that say what is special about it; see [`Migration`].
const COMPATIBLE: &str = "-- compatible:";
const NO_TRANSACTION: &str = "-- no transaction:";

/// How often a wait is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The embedded files of one dialect, in order of version: those of `migrations/`, or of its folder
/// `sqlite/`.
pub fn files(dialect: Dialect) -> &'static [Migration] {
    static POSTGRES: LazyLock<[Migration; 4]> = LazyLock::new(|| {
        embedded([
            include_str!("../migrations/001_init.sql"),
            include_str!("../migrations/002_exactly_once.sql"),
            include_str!("../migrations/003_operations.sql"),
            include_str!("../migrations/004_operator_indexes.sql"),
        ])
    });
    static SQLITE: LazyLock<[Migration; 4]> = LazyLock::new(|| {
        embedded([
            include_str!("../migrations/sqlite/001_init.sql"),
            include_str!("../migrations/sqlite/002_exactly_once.sql"),
            include_str!("../migrations/sqlite/003_operations.sql"),
            include_str!("../migrations/sqlite/004_operator_indexes.sql"),
        ])
    });
    match dialect {
        Dialect::Postgres => &*POSTGRES,
        Dialect::Sqlite => &*SQLITE,
    }
}

fn embedded([init, exactly_once, operations, indexes]: [&'static str; 4]) -> [Migration; 4] {
    [
        migration(1, "001_init.sql", init),
        migration(2, "002_exactly_once.sql", exactly_once),
        migration(3, "003_operations.sql", operations),
        migration(4, "004_operator_indexes.sql", indexes),
    ]
}

fn migration(version: i32, name: &'static str, sql: &'static str) -> Migration {
    let head = sql.lines().take_while(|line| line.starts_with("--"));
    let is_marked = |mark| head.clone().any(|line| line.starts_with(mark));
    Migration {
        version,
        name,
        checksum: checksum(sql),
        is_compatible: is_marked(COMPATIBLE),
        in_transaction: !is_marked(NO_TRANSACTION),
        sql,
    }
}

/// The checksum of a migration's text: SHA-256 in hex. CRLF counts as LF, so that a checkout on
/// another system does not make a file look edited.
pub fn checksum(sql: &str) -> String {
    let digest = Sha256::digest(sql.replace("\r\n", "\n"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema of a database compared with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// The number of migrations that are not applied.
    Pending(usize),
    /// The database has migrations that this program does not know and that are not marked as
    /// compatible with it.
    Newer,
}

impl fmt::Display for SchemaState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaState::Current => out.write_str("all applied"),
            SchemaState::Pending(count) => {
                write!(out, "{count} migration(s) pending: run `orders migrate`")
            }
            SchemaState::Newer => out.write_str(
                "the database has migrations that this program does not know: update `orders`",
            ),
        }
    }
}

/// The state of a schema with this history; services check it before they use the database.
pub fn state(history: &[AppliedMigration]) -> SchemaState {
    // Only the numbers matter, and they are the same in every dialect.
    state_of(history, files(Dialect::Postgres))
}

fn state_of(history: &[AppliedMigration], files: &[Migration]) -> SchemaState {
    let statuses = statuses_of(history, files);
    let is_pending = |it: &&MigrationStatus| it.state == MigrationState::Pending;
    match statuses.iter().filter(is_pending).count() {
        _ if first_incompatible(history, files).is_some() => SchemaState::Newer,
        0 => SchemaState::Current,
        pending => SchemaState::Pending(pending),
    }
}

/// The first migration in a database that this program does not know and cannot work beside.
fn first_incompatible<'h>(
    history: &'h [AppliedMigration],
    files: &[Migration],
) -> Option<&'h AppliedMigration> {
    let is_known =
        |applied: &AppliedMigration| files.iter().any(|file| file.version == applied.version);
    history
        .iter()
        .find(|applied| !is_known(applied) && !applied.is_compatible)
}

/// The state of one migration in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationState {
    Applied,
    Pending,
    /// Applied from a text that differs from the file.
    Diverged,
    /// Applied by a newer program.
    Unknown,
}

impl MigrationState {
    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Diverged => "diverged",
            MigrationState::Unknown => "unknown",
        }
    }
}

/// One migration that the database or this program knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    pub version: i32,
    pub name: String,
    pub state: MigrationState,
    /// RFC 3339, UTC; `None` when pending.
    pub applied_at: Option<String>,
}

/// Every migration that the database or this program knows, by version.
pub fn statuses(history: &[AppliedMigration], dialect: Dialect) -> Vec<MigrationStatus> {
    statuses_of(history, files(dialect))
}

fn statuses_of(history: &[AppliedMigration], files: &[Migration]) -> Vec<MigrationStatus> {
    let ours = files.iter().map(|file| {
        let applied = history
            .iter()
            .find(|applied| applied.version == file.version);
        MigrationStatus {
            version: file.version,
            name: file.name.to_owned(),
            state: match applied {
                None => MigrationState::Pending,
                Some(applied) if applied.checksum == file.checksum => MigrationState::Applied,
                Some(_) => MigrationState::Diverged,
            },
            applied_at: applied.map(|applied| applied.applied_at.clone()),
        }
    });
    let is_unknown =
        |applied: &&AppliedMigration| files.iter().all(|file| file.version != applied.version);
    let unknown = history
        .iter()
        .filter(is_unknown)
        .map(|applied| MigrationStatus {
            version: applied.version,
            name: applied.name.clone(),
            state: MigrationState::Unknown,
            applied_at: Some(applied.applied_at.clone()),
        });
    let mut statuses: Vec<MigrationStatus> = ours.chain(unknown).collect();
    statuses.sort_by_key(|status| status.version);
    statuses
}

/// Why this program cannot migrate a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error(
        "migration `{0}` was applied from another text than this program has: a file that was \
         applied must never be edited"
    )]
    Diverged(String),
    #[error("the database knows migration `{0}`, which this program does not")]
    Newer(String),
    #[error("migration `{missing}` is not in the history, although `{applied}` after it is")]
    OutOfOrder { missing: String, applied: String },
}

/// Returns the pending files, in order. Migrations of a newer program are no obstacle where they are
/// marked as compatible. Pure.
pub fn plan<'a>(
    history: &[AppliedMigration],
    files: &'a [Migration],
) -> Result<Vec<&'a Migration>, PlanError> {
    for MigrationStatus { state, name, .. } in statuses_of(history, files) {
        match state {
            MigrationState::Diverged => return Err(PlanError::Diverged(name)),
            MigrationState::Unknown | MigrationState::Applied | MigrationState::Pending => {}
        }
    }
    if let Some(newer) = first_incompatible(history, files) {
        return Err(PlanError::Newer(newer.name.clone()));
    }
    let is_pending = |file: &&Migration| history.iter().all(|it| it.version != file.version);
    let pending: Vec<&Migration> = files.iter().filter(is_pending).collect();
    match (pending.first(), history.last()) {
        (Some(first), Some(last)) if first.version < last.version => Err(PlanError::OutOfOrder {
            missing: first.name.to_owned(),
            applied: last.name.clone(),
        }),
        _ => Ok(pending),
    }
}

/// Checks a database, and returns the files that would be applied. Those that run in a transaction are
/// applied and rolled back where the engine can. Waits at most `within` for locks on tables.
pub fn dry_run(
    schema: &mut dyn Schema,
    within: Duration,
    report: &dyn Fn(&str),
) -> anyhow::Result<Vec<&'static Migration>> {
    let deadline = Instant::now() + within;
    schema.check()?;
    let pending = planned(schema)?;
    // Tables that cannot be adopted are an error here, as in `run`.
    let differences = schema.existing_tables()?.unwrap_or_default();
    differences.iter().for_each(|difference| report(difference));
    let in_transaction: Vec<&Migration> = pending
        .iter()
        .copied()
        .filter(|file| file.in_transaction)
        .collect();
    retry_while_contended("the dry run", deadline, report, || {
        schema.rehearse(&in_transaction)
    })
    .context("applying the migrations in a transaction that is rolled back")?;
    Ok(pending)
}

/// Applies pending files, one transaction each unless a file is marked otherwise, under the lock against
/// parallel runs, and returns them. Waits at most `within` for the lock and for locks on tables, and passes messages to
/// `report`. On an error the files before the failing one stay applied.
pub fn run(
    schema: &mut dyn Schema,
    within: Duration,
    report: &dyn Fn(&str),
) -> anyhow::Result<Vec<&'static Migration>> {
    let deadline = Instant::now() + within;
    schema.check()?;
    lock(schema, deadline, within, report)?;
    // Read under the lock: another run may just have applied everything.
    let pending = planned(schema)?;
    if let Some(differences) = schema.existing_tables()? {
        report("adopting the existing tables with their rows");
        differences.iter().for_each(|difference| report(difference));
    }
    for file in &pending {
        report(&format!("applying {}", file.name));
        retry_while_contended(file.name, deadline, report, || schema.apply(file))
            .with_context(|| format!("applying migration `{}`", file.name))?;
    }
    Ok(pending)
}

fn planned(schema: &mut dyn Schema) -> anyhow::Result<Vec<&'static Migration>> {
    let history = schema.history()?;
    plan(&history, files(schema.dialect())).map_err(|error| {
        let hint = match error {
            PlanError::Newer(_) => "use the program that wrote it, or a newer one",
            PlanError::Diverged(_) => "use the program that applied it",
            PlanError::OutOfOrder { .. } => "restore the history table `orders_migrations`",
        };
        Failure::new(Exit::Failed, error.to_string())
            .hint(hint)
            .into()
    })
}

fn lock(
    schema: &mut dyn Schema,
    deadline: Instant,
    within: Duration,
    report: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut reported: Option<Instant> = None;
    while !retry_while_contended("a lock", deadline, report, || schema.try_lock())? {
        if Instant::now() >= deadline {
            let message = format!("another `orders migrate` still held the lock after {within:?}");
            let hint = "wait for it to end, or give it longer with --wait";
            return Err(Failure::new(Exit::TimedOut, message).hint(hint).into());
        }
        if reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            report("another `orders migrate` holds the lock: waiting for it to end");
            reported = Some(Instant::now());
        }
        thread::sleep(RETRY_PAUSE);
    }
    Ok(())
}

/// Retries an attempt until the deadline while other sessions hold locks: a failed attempt has
/// changed nothing.
fn retry_while_contended<T>(
    what: &str,
    deadline: Instant,
    report: &dyn Fn(&str),
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    loop {
        match attempt() {
            Err(StoreError::Contended(why)) if Instant::now() < deadline => {
                report(&format!("{what} must wait, a table is in use: {why}"));
                thread::sleep(RETRY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests;
