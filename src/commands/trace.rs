//! `orders trace`: where an order is, from the log to the cache.

use serde_json::{Value, json};

use crate::client::Client;
use crate::client::cached::Cached;
use crate::commands::{Context, open};
use crate::config::{ApiUrlArgs, EngineArgs};
use crate::event_log::sqlite::Reach;
use crate::exit::Exit;
use crate::operations::trace::{
    Fate, PartError, Parts, Question, Reading, State, Trace, TracedRecord, trace,
};
use crate::order::Timestamp;
use crate::output::{Output, grouped};
use crate::store::StoreTrace;
use crate::timeouts;

const EXAMPLES: &str = "\
Examples:
  orders trace b563feb7b2b84b6test
  orders trace b563feb7b2b84b6test --scan      also below the position, and under any key
  orders trace b563feb7b2b84b6test --output json

Asks log, database and API at once, and answers within two seconds whatever is
away. Lists the records of the order from the position of its key's partition
on, the stored version's, and dead letters: stored, older, dead, waiting.
Exit code 0: stored, in its newest version. 3: unknown, dead, erased or lost.
4: it waits to be applied, or what is away could know more. 5: all are away.";

/// The arguments of `orders trace`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The uid of the order
    #[arg(value_name = "UID")]
    order_uid: String,

    /// Read the whole topic, which takes a second for each 100,000 records
    #[arg(long)]
    scan: bool,

    #[command(flatten)]
    engines: EngineArgs,

    #[command(flatten)]
    api: ApiUrlArgs,
}

/// Asks every part, and prints the timeline.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (log_settings, store_settings) = (args.engines.log()?, args.engines.store()?);
    timeouts::look();
    let token = args.api.token(&context.settings)?;
    let api_url = args.api.api_url.clone();
    let parts = Parts {
        log: open::log(&log_settings, Reach::OtherProcesses, None)?,
        store: open::store(&store_settings, context)?,
        api: Client::new(args.api.api_url, token),
    };
    let question = Question {
        order_uid: &args.order_uid,
        topic: &log_settings.topics.orders,
        scan: args.scan,
    };
    let traced = trace(parts, &question);
    let answer = Answer {
        order_uid: &args.order_uid,
        topic: question.topic,
        api_url: &api_url,
        trace: &traced,
    };
    match context.output.is_json() {
        true => context.output.json(&answer.document())?,
        false => answer.print(&context.output)?,
    }
    Ok(exit(&traced))
}

fn exit(trace: &Trace) -> Exit {
    let nothing_answered = trace.log.is_err() && trace.store.is_err() && trace.cache.is_err();
    match trace.state {
        State::Stored => Exit::Done,
        State::Unknown | State::Dead | State::Erased | State::Missing => Exit::CheckFailed,
        State::Unconfirmed if nothing_answered => Exit::Unreachable,
        State::Waiting | State::Unconfirmed => Exit::TimedOut,
    }
}

struct Answer<'a> {
    order_uid: &'a str,
    topic: &'a str,
    api_url: &'a str,
    trace: &'a Trace,
}

impl Answer<'_> {
    fn print(&self, output: &Output) -> anyhow::Result<()> {
        let Trace { state, records, .. } = self.trace;
        output.data(&format!("{}: {}", self.order_uid, state_text(*state)))?;
        if !records.is_empty() {
            let rows = records.iter().map(|record| {
                vec![
                    format!("{}@{}", record.at.partition, record.at.offset),
                    record.accepted_at.to_string(),
                    fate_name(record.fate).replace('_', " "),
                    record.reason.clone().unwrap_or_else(|| "-".into()),
                ]
            });
            output.table(&["record", "accepted at", "fate", "because"], rows)?;
        }
        let parts = [
            ("log", self.log()),
            ("database", self.database()),
            ("api", self.api()),
        ];
        let parts = parts.map(|(part, text)| vec![part.to_owned(), text]);
        output.table(&["part", "says"], parts)?;
        let missing = records.iter().find(|record| record.fate == Fate::Missing);
        if let Some(TracedRecord { at, .. }) = missing {
            let (partition, offset) = (at.partition, at.offset);
            output.info(&format!(
                "it is lost: orders replay --from {partition}@{offset}"
            ));
        }
        Ok(())
    }

    fn log(&self) -> String {
        let reading = match &self.trace.log {
            Ok(reading) => reading,
            Err(error) => return away(error),
        };
        let topic = self.topic;
        let read = reading.partitions.iter().map(|(partition, range)| {
            let (from, read_to, end) = range;
            match read_to < end {
                true => format!("{topic}/{partition} read from {from} to {read_to} of {end}"),
                false if from == end => {
                    format!("{topic}/{partition} is applied up to its end {end}")
                }
                false => format!("{topic}/{partition} read from {from} to its end {end}"),
            }
        });
        let read: Vec<String> = read.collect();
        let unread: i64 = reading
            .partitions
            .values()
            .map(|(_, to, end)| end - to)
            .sum();
        match unread {
            0 => read.join(", "),
            _ => format!(
                "{}; {} offsets were not read in time: --scan reads them",
                read.join(", "),
                grouped(unread.unsigned_abs())
            ),
        }
    }

    fn database(&self) -> String {
        let store = match &self.trace.store {
            Ok(store) => store,
            Err(error) => return away(error),
        };
        if let Some(row) = &store.row {
            let accepted_at = row.accepted_at;
            return match &row.source {
                Some(source) => format!(
                    "stored from {}@{}, accepted at {accepted_at}{}",
                    source.at.partition,
                    source.at.offset,
                    match source.topic_id {
                        Some(_) => "",
                        None => ", of an earlier incarnation of the topic",
                    }
                ),
                None => "stored by another program".into(),
            };
        }
        match &store.erasure {
            Some(erasure) => format!(
                "erased at {}: no record accepted up to {} is stored",
                erasure.erased_at, erasure.until
            ),
            None => "not stored".into(),
        }
    }

    fn api(&self) -> String {
        let url = self.api_url;
        match &self.trace.cache {
            Ok(Cached::Nothing) => format!("{url}: not in the cache"),
            Ok(Cached::Held {
                source,
                is_unverified,
            }) => {
                let from = source
                    .as_ref()
                    .map_or("an unknown record".into(), |source| {
                        format!("{}@{}", source.at.partition, source.at.offset)
                    });
                let unverified = match is_unverified {
                    true => ", not verified as the newest",
                    false => "",
                };
                format!("{url}: cached from {from}{unverified}")
            }
            Err(error) => away(error),
        }
    }

    fn document(&self) -> Value {
        let Trace {
            state,
            records,
            log,
            store,
            cache,
        } = self.trace;
        let records = records.iter().map(|record| {
            json!({
                "partition": record.at.partition,
                "offset": record.at.offset,
                "accepted_at": record.accepted_at,
                "fate": fate_name(record.fate),
                "reason": record.reason,
            })
        });
        let parts = [
            ("log", log.as_ref().err()),
            ("database", store.as_ref().err()),
            ("api", cache.as_ref().err()),
        ];
        let away = parts.into_iter().filter_map(|(part, error)| {
            error.map(|error| json!({"part": part, "reason": error.to_string()}))
        });
        let cache = cache.as_ref().ok().map(|cached| match cached {
            Cached::Nothing => json!({"url": self.api_url, "cached": false}),
            Cached::Held {
                source,
                is_unverified,
            } => json!({
                "url": self.api_url,
                "cached": true,
                "partition": source.as_ref().map(|source| source.at.partition),
                "offset": source.as_ref().map(|source| source.at.offset),
                "unverified": is_unverified,
            }),
        });
        let erased = store.as_ref().ok().and_then(|store| store.erasure);
        json!({
            "order_uid": self.order_uid,
            "state": state_name(*state),
            "records": records.collect::<Vec<_>>(),
            "stored": store.as_ref().ok().and_then(stored),
            "erased": erased.map(|it| json!({"until": it.until, "erased_at": it.erased_at})),
            "cache": cache.into_iter().collect::<Vec<_>>(),
            "read": log.as_ref().map_or(Vec::new(), ranges),
            "away": away.collect::<Vec<_>>(),
        })
    }
}

fn away(error: &PartError) -> String {
    match error {
        PartError::NoAnswer(_) => format!("it {error}"),
        error => error.to_string(),
    }
}

fn stored(store: &StoreTrace) -> Option<Value> {
    let row = store.row.as_ref()?;
    let at = row.source.as_ref().map(|source| source.at);
    Some(json!({
        "partition": at.map(|at| at.partition),
        "offset": at.map(|at| at.offset),
        "accepted_at": row.accepted_at.0.map(|_| Timestamp(row.accepted_at.0)),
    }))
}

fn ranges(reading: &Reading) -> Vec<Value> {
    let ranges = reading.partitions.iter();
    ranges
        .map(|(partition, (from, read_to, end))| {
            json!({"partition": partition, "from": from, "to": read_to, "end": end})
        })
        .collect()
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Stored => "stored",
        State::Waiting => "waiting",
        State::Dead => "dead",
        State::Erased => "erased",
        State::Missing => "missing",
        State::Unknown => "unknown",
        State::Unconfirmed => "unconfirmed",
    }
}

fn state_text(state: State) -> &'static str {
    match state {
        State::Stored => "stored, in its newest version",
        State::Waiting => "waiting to be applied",
        State::Dead => "dead: its newest record could not become an order",
        State::Erased => "erased",
        State::Missing => "lost: a record that was applied is not stored",
        State::Unknown => "unknown",
        State::Unconfirmed => "not confirmed: what is away could know more",
    }
}

fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Stored => "stored",
        Fate::OlderVersion => "older_version",
        Fate::Dead => "dead_letter",
        Fate::Resolved => "resolved_dead_letter",
        Fate::Erased => "erased",
        Fate::Waiting => "waiting",
        Fate::Missing => "missing",
        Fate::NotKnown => "not_known",
    }
}
