//! Whether each part of the system is healthy, and what repairs it. Pure: the answers come from elsewhere.
//!
//! # Invariants
//!
//! - A part that is not healthy names what repairs it.
//! - What is not known is never healthy.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::migrations::SchemaState;
use crate::operations::lag::{Lag, State as PartitionState};
use crate::operations::services::uptime;
use crate::order::Timestamp;

pub mod api;

/// Records that wait longer make the consumer suspicious.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// Orders, lookups and their replies.
const TOPICS: usize = 3;

const DATABASE_FIX: &str = "check that it runs, and DB_URL: orders config";
const LOG_FIX: &str = "check that it runs, and KAFKA_BROKERS: orders config";

/// The state of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    #[serde(rename = "ok")]
    Ok,
    /// It works, and an operator has something to do.
    #[serde(rename = "warn")]
    Warn,
    #[serde(rename = "FAIL")]
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        })
    }
}

/// A part of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub part: &'static str,
    pub state: State,
    pub detail: String,
    /// The command that repairs it; `None` when there is nothing to repair.
    pub fix: Option<String>,
}

impl Part {
    fn new(part: &'static str, state: State, detail: impl Into<String>) -> Part {
        Part {
            part,
            state,
            detail: detail.into(),
            fix: None,
        }
    }

    fn ok(part: &'static str, detail: impl Into<String>) -> Part {
        Part::new(part, State::Ok, detail)
    }

    fn fix(mut self, fix: impl Into<String>) -> Part {
        self.fix = Some(fix.into());
        self
    }
}

/// Whether every part works.
pub fn is_healthy(parts: &[Part]) -> bool {
    parts.iter().all(|part| part.state != State::Fail)
}

/// An answer, or why there is none: what follows the name of the source in a sentence.
pub type Answer<T> = Result<T, String>;

/// The files of an embedded engine.
#[derive(Clone, Debug)]
pub struct Files {
    /// Free on the disk.
    pub free_bytes: u64,
    pub wal_bytes: u64,
    /// Why nothing more can be written.
    pub shortage: Option<String>,
}

/// What the database says of itself.
#[derive(Clone, Debug)]
pub struct Database {
    /// The engine and its version.
    pub version: String,
    /// How many migrations are applied.
    pub migrations: usize,
    pub schema: SchemaState,
    /// Of an embedded one.
    pub files: Option<Files>,
}

/// The part `database`; `name` has no secrets.
pub fn database(name: &str, answer: &Answer<Database>) -> Part {
    let part = "database";
    let database = match answer {
        Ok(database) => database,
        Err(why) => return Part::new(part, State::Fail, format!("{name} {why}")).fix(DATABASE_FIX),
    };
    let files = database.files.as_ref();
    let (version, count) = (&database.version, database.migrations);
    let migrations = plural(count as u64, "migration");
    let described =
        |state: &str| format!("{name}, {version}, {migrations}, {state}{}", room(files));
    match (database.schema, shortage(files)) {
        (SchemaState::Pending(pending), _) => {
            let detail = described(&format!("{pending} pending"));
            Part::new(part, State::Fail, detail).fix("orders migrate")
        }
        (SchemaState::Newer, _) => {
            let detail = described("some of a newer program");
            Part::new(part, State::Fail, detail).fix("use the program that applied them")
        }
        (SchemaState::Current, Some(shortage)) => full(part, shortage),
        (SchemaState::Current, None) => Part::ok(part, described("none pending")),
    }
}

/// What the log says of itself.
#[derive(Clone, Debug)]
pub struct Log {
    /// Brokers and cluster, or the folder.
    pub description: String,
    /// The topics that exist, with their partitions.
    pub topics: Vec<(String, usize)>,
    /// In what they differ from those that are declared.
    pub differences: Vec<String>,
    /// Of an embedded one.
    pub files: Option<Files>,
}

/// The part `log`.
pub fn log(name: &str, answer: &Answer<Log>) -> Part {
    let part = "log";
    let log = match answer {
        Ok(log) => log,
        Err(why) => return Part::new(part, State::Fail, format!("{name} {why}")).fix(LOG_FIX),
    };
    let files = log.files.as_ref();
    if let Some(shortage) = shortage(files) {
        return full(part, shortage);
    }
    let topics = log.topics.iter();
    let topics: Vec<String> = topics
        .map(|(name, partitions)| format!("`{name}` ({partitions})"))
        .collect();
    let start = &log.description;
    if log.differences.is_empty() {
        let topics = topics.join(", ");
        let detail = format!("{start}, topics {topics} as declared{}", room(files));
        return Part::ok(part, detail);
    }
    let detail = format!("{start}; {}", log.differences.join("; "));
    // Topics that differ work all the same; all three are needed.
    match log.topics.len() < TOPICS {
        true => Part::new(part, State::Fail, detail).fix("orders create-topics"),
        false => Part::new(part, State::Warn, detail).fix("orders create-topics --check"),
    }
}

/// Who reads the log.
#[derive(Clone, Debug)]
pub enum Readers {
    /// How many members the group has.
    Members(Answer<usize>),
    /// The process that has the consumer's role in the data folder.
    Process(Option<u32>),
}

impl Readers {
    /// Who reads, and whether there is anybody; `None` when that is not known.
    pub fn describe(&self, group: &str) -> (String, Option<bool>) {
        match self {
            Readers::Members(Ok(0)) => (format!("no member in group `{group}`"), Some(false)),
            Readers::Members(Ok(members)) => {
                let members = plural(*members as u64, "member");
                (format!("{members} in group `{group}`"), Some(true))
            }
            Readers::Members(Err(why)) => (format!("group `{group}`: {why}"), None),
            Readers::Process(Some(pid)) => (format!("process {pid}"), Some(true)),
            Readers::Process(None) => ("no process reads the log".to_owned(), Some(false)),
        }
    }
}

/// The part `consumer`. `failing` are the checks that the consumers of this machine report.
pub fn consumer(group: &str, readers: &Readers, lag: &Answer<Lag>, failing: &[String]) -> Part {
    let part = "consumer";
    let (who, is_there) = readers.describe(group);
    let (waiting, is_in_time) = match lag {
        Ok(lag) => waiting(lag),
        Err(_) => ("how many orders wait is not known".to_owned(), false),
    };
    let detail = format!("{who}; {waiting}");
    if is_there == Some(false) {
        return Part::new(part, State::Fail, detail).fix("orders consume");
    }
    if !failing.is_empty() {
        let detail = format!("{detail}; {}", failing.join("; "));
        return Part::new(part, State::Fail, detail).fix("orders lag");
    }
    match is_there.is_some() && is_in_time {
        true => Part::ok(part, detail),
        false => Part::new(part, State::Warn, detail).fix("orders lag"),
    }
}

/// What waits, and whether it is known and does not wait for long.
fn waiting(lag: &Lag) -> (String, bool) {
    let source = match lag.no_positions {
        None => "",
        Some(_) => " by the offsets of the group",
    };
    let (records, oldest) = (lag.records(), lag.oldest_waiting());
    match (records, oldest) {
        (Some(0), _) => (format!("nothing waits{source}"), true),
        (Some(records), _) => {
            let verb = if records == 1 {
                "order waits"
            } else {
                "orders wait"
            };
            let oldest_text = oldest
                .map(|it| format!(", the oldest for {}", uptime(it.as_secs())))
                .unwrap_or_default();
            let is_in_time = oldest.is_some_and(|it| it <= LONG_WAIT);
            (format!("{records} {verb}{oldest_text}{source}"), is_in_time)
        }
        (None, _) => ("how many orders wait is not known".to_owned(), false),
    }
}

/// The part `dead letters`: how many are open, and when the newest was written.
pub fn dead_letters(
    answer: &Answer<(u64, Timestamp)>,
    database: &Answer<Database>,
    now_us: i64,
) -> Part {
    let part = "dead letters";
    let pending = database.as_ref().ok().map(|database| database.schema);
    match (answer, pending) {
        (Ok((0, _)), _) => Part::ok(part, "none open"),
        (Ok((count, newest)), _) => {
            let age = newest
                .0
                .map(|at| now_us.saturating_sub(at).max(0).unsigned_abs() / 1_000_000);
            let age = age.map(|age| format!(", the newest {} old", uptime(age)));
            let detail = format!("{count} open{}", age.unwrap_or_default());
            Part::new(part, State::Warn, detail).fix("orders dead-letters")
        }
        // Their table is one of those that the migrations create.
        (Err(_), Some(SchemaState::Pending(pending))) => {
            let pending = plural(pending as u64, "migration");
            let detail = format!("not known: {pending} pending");
            Part::new(part, State::Warn, detail).fix("orders migrate")
        }
        (Err(why), _) => unknown(part, why),
    }
}

/// The part `gaps`.
pub fn gaps(lag: &Answer<Lag>, log: &Answer<Log>) -> Part {
    let part = "gaps";
    let lag = match (lag, log) {
        (Ok(lag), _) => lag,
        // It answers, and lacks topics: the part `log` names them.
        (Err(_), Ok(log)) if log.topics.len() < TOPICS => {
            let detail = "not known: topics are missing";
            return Part::new(part, State::Warn, detail).fix("orders create-topics");
        }
        (Err(why), _) => {
            let detail = format!("not known: the log {why}");
            return Part::new(part, State::Warn, detail).fix(LOG_FIX);
        }
    };
    if let Some(why) = &lag.no_positions {
        return unknown(part, why);
    }
    let partitions = lag.partitions.iter();
    let stopped: Vec<String> = partitions
        .filter(|it| it.state == PartitionState::Gap)
        .map(|it| it.partition.to_string())
        .collect();
    if stopped.is_empty() {
        return Part::ok(part, "none that wait for a decision");
    }
    let detail = format!(
        "partition {} of `{}`: records were deleted before they were read",
        stopped.join(", "),
        lag.topic
    );
    Part::new(part, State::Fail, detail).fix("orders gaps")
}

fn unknown(part: &'static str, why: &str) -> Part {
    let detail = format!("not known: the database {why}");
    Part::new(part, State::Warn, detail).fix(DATABASE_FIX)
}

fn full(part: &'static str, shortage: &str) -> Part {
    Part::new(part, State::Fail, shortage).fix("make room on the disk")
}

fn shortage(files: Option<&Files>) -> Option<&str> {
    files.and_then(|files| files.shortage.as_deref())
}

/// The room of the disk and the size of the WAL, as the end of a sentence.
fn room(files: Option<&Files>) -> String {
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    files.map_or_else(String::new, |files| {
        let (free, wal) = (gibibytes(files.free_bytes), mebibytes(files.wal_bytes));
        format!(", WAL {wal:.1} MiB, {free:.1} GiB free")
    })
}

fn plural(count: u64, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

#[cfg(test)]
mod tests;
