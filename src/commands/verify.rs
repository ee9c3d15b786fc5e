//! `orders verify`: whether every record of the topic is accounted for in the store.

use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, duration, temporary_folder, time};
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::operations::verify::{
    MAX_FINDINGS, Missing, PartitionFault, Report, Scope, SpillError, VerifyError, Watch, Why,
    WithoutRecord, verify,
};
use crate::order::Timestamp;
use crate::output::{Output, Progress, grouped};

const EXAMPLES: &str = "\
Examples:
  orders verify                     every record of the topic
  orders verify --since -1h         those of the last hour
  orders verify --since 2026-11-27 --output json

Reads one snapshot of the database, then the topic up to its positions. Every
record must be stored, an older version of an order, a dead letter, in a
recorded gap or erased; every stored order that names a record must have it.
An older version is one that a later record of its partition replaces, or that
was accepted before the stored one. Exit code 3 when anything is missing, which
is then listed with the command that repairs it. Nothing is changed.

Many orders are sorted in a file without a name in the temporary folder, about
100 bytes each; TMPDIR names another folder.";

/// How many findings of each kind are printed in a table; JSON has up to [`MAX_FINDINGS`].
const MAX_PRINTED: usize = 20;

/// The arguments of `orders verify`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only records from then on: 2026-11-27T10:00:00Z, 2026-11-27, -15m or -1h
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// How long to wait for database and log [default: one attempt]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,

    #[command(flatten)]
    engines: EngineArgs,
}

/// Verifies, then prints the sum and what is missing; [`Exit::CheckFailed`] when anything is.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (log_settings, store_settings) = (args.engines.log()?, args.engines.store()?);
    // Before the engines are opened: they read its time limits.
    let wait = connect::wait(args.wait, true);
    let mut store = open::operator(&store_settings, wait, context)?;
    let log = open::log(&log_settings, Reach::OtherProcesses, None)?;
    let topic = &log_settings.topics.orders;
    connect::to_log(&log_settings, connect::LOG_HINT, wait, context, || {
        log.topic(topic)
    })?;
    let scope = Scope {
        log: &*log,
        topic,
        since_ms: args.since.and_then(|since| Some(since.0? / 1_000)),
        temporary_folder: temporary_folder(),
    };
    let mut watch = RecordProgress {
        output: &context.output,
        progress: None,
    };
    let verified = verify(&scope, &mut *store, &mut watch);
    drop(watch);
    let report = verified.map_err(|error| explained(error, topic))?;
    print(&context.output, topic, &report)?;
    Ok(match report.is_complete() {
        true => Exit::Done,
        false => Exit::CheckFailed,
    })
}

fn explained(error: VerifyError, topic: &str) -> anyhow::Error {
    let is_spill = matches!(error, VerifyError::Spill(SpillError::NoRoom { .. }));
    let error = anyhow::Error::new(error);
    let verifying = format!("verifying topic `{topic}`");
    match is_spill {
        true => error.context(
            Failure::new(Exit::Failed, verifying)
                .hint("make room, or name another folder in TMPDIR"),
        ),
        false => error.context(verifying),
    }
}

struct RecordProgress<'o> {
    output: &'o Output,
    progress: Option<Progress>,
}

impl Watch for RecordProgress<'_> {
    fn total(&mut self, offsets: u64) {
        self.progress = Some(self.output.progress("records", offsets));
    }

    fn passed(&mut self, offsets: u64) {
        if let Some(progress) = &mut self.progress {
            progress.add(offsets);
        }
    }
}

fn print(output: &Output, topic: &str, report: &Report) -> anyhow::Result<()> {
    if output.is_json() {
        return output.json(&document(topic, report));
    }
    output.data(&summary(report))?;
    print_table(
        output,
        ["record", "order", "missing", "next"],
        report.missing.listed.iter().map(missing_row),
        report.missing.count,
    )?;
    print_table(
        output,
        ["record", "order", "stored", "next"],
        report.without_record.listed.iter().map(without_record_row),
        report.without_record.count,
    )?;
    let partitions = report.partitions.iter();
    print_table(
        output,
        ["partition", "wrong", "next"],
        partitions.map(|(partition, fault)| {
            let (wrong, next) = fault_texts(topic, *partition, *fault);
            [partition.to_string(), wrong, next]
        }),
        report.partitions.len() as u64,
    )?;
    if report.waiting > 0 {
        let waiting = grouped(report.waiting);
        output.info(&format!("{waiting} more wait: they are not applied yet"));
    }
    Ok(())
}

fn print_table<const COLUMNS: usize>(
    output: &Output,
    headers: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
    count: u64,
) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    output.table(&headers, rows.take(MAX_PRINTED).map(Vec::from))?;
    let more = count.saturating_sub(MAX_PRINTED as u64);
    if more > 0 {
        let most = grouped(MAX_FINDINGS as u64);
        output.data(&format!(
            "and {} more; --output json lists up to {most}",
            grouped(more)
        ))?;
    }
    Ok(())
}

fn summary(report: &Report) -> String {
    let Report {
        records,
        stored,
        older_versions,
        dead_letters,
        in_gaps,
        erased,
        ..
    } = report;
    let [
        records,
        stored,
        older_versions,
        dead_letters,
        in_gaps,
        erased,
        missing,
    ] = [
        *records,
        *stored,
        *older_versions,
        *dead_letters,
        *in_gaps,
        *erased,
        report.missing.count,
    ]
    .map(grouped);
    format!(
        "{records} records = {stored} stored + {older_versions} older versions + \
         {dead_letters} dead letters + {in_gaps} in gaps + {erased} erased; {missing} missing"
    )
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::NotStored => "not stored",
        Why::OlderVersionStored => "an older version is stored",
        Why::StoredByOther => "another program's version is stored",
        Why::NoDeadLetter => "no order, and no dead letter",
    }
}

fn replay(missing: &Missing) -> String {
    format!(
        "orders replay --from {}@{}",
        missing.at.partition, missing.at.offset
    )
}

fn missing_row(missing: &Missing) -> [String; 4] {
    [
        format!("{}@{}", missing.at.partition, missing.at.offset),
        missing.order_uid.clone().unwrap_or_else(|| "-".into()),
        reason(missing.why).into(),
        replay(missing),
    ]
}

fn without_record_row(row: &WithoutRecord) -> [String; 4] {
    [
        format!("{}@{}", row.names.partition, row.names.offset),
        row.order_uid.clone(),
        "from this record, which is not there or of another order".into(),
        trace(&row.order_uid),
    ]
}

/// The command that traces an order. The uid may be any text, and the line may be pasted into a shell.
fn trace(order_uid: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if order_uid.bytes().all(is_plain) && !order_uid.is_empty() && !order_uid.starts_with('-') {
        return format!("orders trace {order_uid}");
    }
    format!("orders trace -- '{}'", order_uid.replace('\'', r"'\''"))
}

/// What is wrong with the partition, and the command that repairs it.
fn fault_texts(topic: &str, partition: i32, fault: PartitionFault) -> (String, String) {
    match fault {
        PartitionFault::PositionPastEnd { position, end } => (
            format!("its position {position} is past the log's end {end}"),
            format!("orders replay --from {partition}@0"),
        ),
        PartitionFault::DeletedUnread { from, to } => {
            let last = to - 1;
            (
                format!("records {from}-{last} were deleted before they were read"),
                format!("orders gaps accept {topic}/{partition}:{from}-{last}"),
            )
        }
    }
}

fn document(topic: &str, report: &Report) -> Value {
    let missing = report.missing.listed.iter().map(|missing| {
        json!({
            "partition": missing.at.partition,
            "offset": missing.at.offset,
            "order_uid": missing.order_uid,
            "reason": reason(missing.why),
            "fix": replay(missing),
        })
    });
    let without_record = report.without_record.listed.iter().map(|row| {
        json!({
            "partition": row.names.partition,
            "offset": row.names.offset,
            "order_uid": row.order_uid,
            "fix": trace(&row.order_uid),
        })
    });
    let partitions = report.partitions.iter().map(|(partition, fault)| {
        let (wrong, fix) = fault_texts(topic, *partition, *fault);
        json!({"partition": partition, "reason": wrong, "fix": fix})
    });
    json!({
        "records": report.records,
        "stored": report.stored,
        "older_versions": report.older_versions,
        "dead_letters": report.dead_letters,
        "in_gaps": report.in_gaps,
        "erased": report.erased,
        "missing_count": report.missing.count,
        "missing": missing.collect::<Vec<_>>(),
        "without_record_count": report.without_record.count,
        "without_record": without_record.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
        "waiting": report.waiting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_that_a_shell_would_interpret_is_quoted() {
        assert_eq!(trace("a-1.b_c:d"), "orders trace a-1.b_c:d");
        assert_eq!(trace("$(id)"), "orders trace -- '$(id)'");
        assert_eq!(trace("it's"), r"orders trace -- 'it'\''s'");
        assert_eq!(trace("-x"), "orders trace -- '-x'");
    }

    #[test]
    fn the_summary_is_a_sum() {
        let mut report = Report {
            records: 46_675,
            stored: 22_895,
            older_versions: 23_732,
            dead_letters: 48,
            ..Report::default()
        };
        let expected = "46,675 records = 22,895 stored + 23,732 older versions + 48 dead letters \
                        + 0 in gaps + 0 erased; 0 missing";
        assert_eq!(summary(&report), expected);
        assert!(report.is_complete());
        report.missing.count = 1;
        assert!(!report.is_complete());
    }
}
