//! The schema's migrations: the files, the plan, and the run that carries it out.
//!
//! Owns the embedded files of `migrations/`, their checksums and the pure plan (history, files) → what
//! to do; how a database applies one is the engine's business ([`Schema`]). Each dialect has files of
//! the same numbers and names. Blocks; waits are bounded by the caller's limit. The surprising thing:
//! a checksum reads CRLF as LF, so a checkout on another system does not make a file look edited.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::store::{AppliedMigration, Dialect, Migration, Schema, StoreError};

/// How often a held lock is tried again.
const POLL: Duration = Duration::from_millis(200);

/// How often a wait is mentioned again.
const MENTION: Duration = Duration::from_secs(5);

/// One embedded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The number its name begins with.
    pub version: i32,
    pub name: &'static str,
    /// SHA-256 of the text with CRLF read as LF, in hex.
    pub checksum: String,
    pub sql: &'static str,
}

impl File {
    fn new(version: i32, name: &'static str, sql: &'static str) -> File {
        File {
            version,
            name,
            checksum: checksum(sql),
            sql,
        }
    }

    fn migration(&self) -> Migration<'_> {
        Migration {
            version: self.version,
            name: self.name,
            checksum: &self.checksum,
            sql: self.sql,
        }
    }
}

/// The files of one dialect, in order of version: those of `migrations/`, or of its folder `sqlite/`.
pub fn files(dialect: Dialect) -> &'static [File] {
    static POSTGRES: LazyLock<[File; 2]> = LazyLock::new(|| {
        embedded([
            include_str!("../migrations/001_init.sql"),
            include_str!("../migrations/002_exactly_once.sql"),
        ])
    });
    static SQLITE: LazyLock<[File; 2]> = LazyLock::new(|| {
        embedded([
            include_str!("../migrations/sqlite/001_init.sql"),
            include_str!("../migrations/sqlite/002_exactly_once.sql"),
        ])
    });
    match dialect {
        Dialect::Postgres => &*POSTGRES,
        Dialect::Sqlite => &*SQLITE,
    }
}

fn embedded([init, exactly_once]: [&'static str; 2]) -> [File; 2] {
    [
        File::new(1, "001_init.sql", init),
        File::new(2, "002_exactly_once.sql", exactly_once),
    ]
}

/// The checksum of a migration's text: SHA-256 in hex, CRLF read as LF.
pub fn checksum(sql: &str) -> String {
    let digest = Sha256::digest(sql.replace("\r\n", "\n"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a database is what this program expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// That many migrations are still to be applied.
    Pending(usize),
    /// The database knows migrations that this program does not.
    Newer,
}

/// Judges a history, as services do before they touch the database.
pub fn state(history: &[AppliedMigration]) -> SchemaState {
    // Only the numbers count here, and those are the same in every dialect.
    state_of(history, files(Dialect::Postgres))
}

fn state_of(history: &[AppliedMigration], files: &[File]) -> SchemaState {
    let standings = standings(history, files);
    let count = |standing| {
        standings
            .iter()
            .filter(|line| line.standing == standing)
            .count()
    };
    match (count(Standing::Unknown), count(Standing::Pending)) {
        (0, 0) => SchemaState::Current,
        (0, pending) => SchemaState::Pending(pending),
        _ => SchemaState::Newer,
    }
}

/// How one migration stands in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Applied,
    Pending,
    /// Applied from another text than the file has.
    Diverged,
    /// Applied by a program that knows more than this one.
    Unknown,
}

impl Standing {
    /// The word for tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Applied => "applied",
            Standing::Pending => "pending",
            Standing::Diverged => "diverged",
            Standing::Unknown => "unknown",
        }
    }
}

/// One migration of a database or of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub version: i32,
    pub name: String,
    pub standing: Standing,
    /// RFC 3339, UTC; `None` when pending.
    pub applied_at: Option<String>,
}

/// Every migration that the database or this program knows, in order of version.
pub fn survey(history: &[AppliedMigration], dialect: Dialect) -> Vec<Line> {
    standings(history, files(dialect))
}

fn standings(history: &[AppliedMigration], files: &[File]) -> Vec<Line> {
    let ours = files.iter().map(|file| {
        let applied = history
            .iter()
            .find(|applied| applied.version == file.version);
        Line {
            version: file.version,
            name: file.name.to_owned(),
            standing: match applied {
                None => Standing::Pending,
                Some(applied) if applied.checksum == file.checksum => Standing::Applied,
                Some(_) => Standing::Diverged,
            },
            applied_at: applied.map(|applied| applied.applied_at.clone()),
        }
    });
    let is_unknown =
        |applied: &&AppliedMigration| files.iter().all(|file| file.version != applied.version);
    let unknown = history.iter().filter(is_unknown).map(|applied| Line {
        version: applied.version,
        name: applied.name.clone(),
        standing: Standing::Unknown,
        applied_at: Some(applied.applied_at.clone()),
    });
    let mut lines: Vec<Line> = ours.chain(unknown).collect();
    lines.sort_by_key(|line| line.version);
    lines
}

/// Why a database cannot be migrated by this program.
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

/// The plan: which files are still to be applied, in order; pure.
pub fn plan<'a>(
    history: &[AppliedMigration],
    files: &'a [File],
) -> Result<Vec<&'a File>, PlanError> {
    let lines = standings(history, files);
    for line in &lines {
        match line.standing {
            Standing::Diverged => return Err(PlanError::Diverged(line.name.clone())),
            Standing::Unknown => return Err(PlanError::Newer(line.name.clone())),
            Standing::Applied | Standing::Pending => {}
        }
    }
    let first_pending = lines
        .iter()
        .position(|line| line.standing == Standing::Pending);
    let last_applied = lines
        .iter()
        .rposition(|line| line.standing == Standing::Applied);
    if let (Some(pending), Some(applied)) = (first_pending, last_applied)
        && pending < applied
    {
        let (missing, applied) = (lines[pending].name.clone(), lines[applied].name.clone());
        return Err(PlanError::OutOfOrder { missing, applied });
    }
    let is_pending = |file: &&File| {
        history
            .iter()
            .all(|applied| applied.version != file.version)
    };
    Ok(files.iter().filter(is_pending).collect())
}

/// Checks a database without writing anything: which of our files would be applied.
pub fn dry_run(schema: &mut dyn Schema) -> anyhow::Result<Vec<&'static File>> {
    schema.check()?;
    let pending = planned(schema)?;
    // Tables that cannot be adopted are an error here as they are in `run`.
    schema.has_preexisting_tables()?;
    Ok(pending)
}

/// Applies what is pending, one transaction a file, under the lock against parallel runs; gives
/// back what it applied. Waits at most `within` for the lock and for locks on tables; `tell` hears
/// what happens. On an error everything before the failing file stays applied.
pub fn run(
    schema: &mut dyn Schema,
    within: Duration,
    tell: &dyn Fn(&str),
) -> anyhow::Result<Vec<&'static File>> {
    let deadline = Instant::now() + within;
    schema.check()?;
    lock(schema, deadline, within, tell)?;
    // Read under the lock: another run may just have applied everything.
    let pending = planned(schema)?;
    if schema.has_preexisting_tables()? {
        tell("adopting the tables that are already there, with their rows");
    }
    for file in &pending {
        tell(&format!("applying {}", file.name));
        once_free(file.name, deadline, tell, || schema.apply(file.migration()))
            .with_context(|| format!("applying migration `{}`", file.name))?;
    }
    Ok(pending)
}

fn planned(schema: &mut dyn Schema) -> anyhow::Result<Vec<&'static File>> {
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
    tell: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut mentioned: Option<Instant> = None;
    while !once_free("a lock", deadline, tell, || schema.try_lock())? {
        if Instant::now() >= deadline {
            let message = format!("another `orders migrate` still held the lock after {within:?}");
            let hint = "wait for it to end, or give it longer with --wait";
            return Err(Failure::new(Exit::TimedOut, message).hint(hint).into());
        }
        if mentioned.is_none_or(|at| at.elapsed() >= MENTION) {
            tell("another `orders migrate` holds the lock: waiting for it to end");
            mentioned = Some(Instant::now());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// What others are using is tried again until the deadline: a failed attempt has changed nothing.
fn once_free<T>(
    what: &str,
    deadline: Instant,
    tell: &dyn Fn(&str),
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    loop {
        match attempt() {
            Err(StoreError::Contended(why)) if Instant::now() < deadline => {
                tell(&format!("{what} must wait, a table is in use: {why}"));
                thread::sleep(POLL);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests;
