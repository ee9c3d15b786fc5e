//! `orders lag`: how many records wait in each partition, since when, and who has it.
//!
//! The numbers are those of the log and of the database, so they are right whatever the services do.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::readers;
use crate::commands::watch::watch;
use crate::commands::{Context, connect, open};
use crate::config::{EngineArgs, GroupArgs, duration};
use crate::event_log::LogError;
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::operations::lag::{self, Lag, LagError, Partition, Sources};
use crate::operations::services::uptime;

const EXAMPLES: &str = "\
Examples:
  orders lag                      every partition, with its owner
  orders lag --watch              again every two seconds, until Ctrl-C
  orders lag --fail-over 1000     exit code 3 when more than 1000 records wait
  orders lag --fail-over 30s      exit code 3 when one waits for longer than that
  orders lag --output json | jq .lag

While the database is away the lag is that of the offsets which the consumer
group has committed. What is not known is empty, or null in JSON, never 0; for
--fail-over it is too much. With --watch, --fail-over ends the command.";

/// The arguments of `orders lag`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Repeat it every two seconds; with --output json one document a line
    #[arg(long)]
    watch: bool,

    /// Exit code 3 when more records wait, or one waits for longer
    #[arg(long, value_name = "RECORDS|DURATION")]
    fail_over: Option<Limit>,

    #[command(flatten)]
    engines: EngineArgs,
    #[command(flatten)]
    group: GroupArgs,
}

/// The most that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Records(i64),
    Waiting(Duration),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        if let Ok(records) = text.parse::<i64>()
            && records >= 0
        {
            return Ok(Limit::Records(records));
        }
        let waiting = duration(text).map(Limit::Waiting);
        waiting.map_err(|_| {
            format!("`{text}` is neither a number of records nor a duration such as 30s or 5m")
        })
    }
}

impl Limit {
    /// Why the lag is over the limit; `None` when it is not.
    fn exceeded(self, lag: &Lag) -> Option<String> {
        let (is_over, limit) = match self {
            Limit::Records(most) => (lag.records().map(|it| it > most), format!("{most} records")),
            Limit::Waiting(longest) => {
                let is_over = lag.oldest_waiting().map(|it| it > longest);
                (is_over, format!("{longest:?}"))
            }
        };
        match is_over {
            Some(false) => None,
            Some(true) => Some(format!("the lag is over {limit}")),
            None => Some(format!("whether the lag is over {limit} is not known")),
        }
    }
}

/// Prints the lag, once or again and again.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    // Before the engines are opened: they read its time limits.
    connect::wait(None, true);
    let settings = args.engines.log()?;
    let store = open::store(&args.engines.store()?, context)?;
    let sources = Sources {
        log: open::log(&settings, Reach::OtherProcesses, None)?,
        store,
        topic: settings.topics.orders.clone(),
        group: args.group.group,
    };
    let readers = readers::Source::open(&settings, &sources.group)?;
    let round = || {
        let readers = readers.ask();
        let lag = lag::measure(&sources).map_err(|error| failure(error, &settings.describe()))?;
        report(&lag, args.watch, context)?;
        if let (nobody, Some(false)) = readers.wait().describe(&sources.group) {
            let warning = format!("{nobody}: nothing is applied; run `orders consume`");
            context.output.warn(&warning);
        }
        let exceeded = args.fail_over.and_then(|limit| limit.exceeded(&lag));
        Ok(exceeded.map(|why| {
            context.output.warn(&why);
            Exit::CheckFailed
        }))
    };
    match args.watch {
        true => watch(&context.output, round),
        false => Ok(round()?.unwrap_or(Exit::Done)),
    }
}

fn failure(error: LagError, log: &str) -> anyhow::Error {
    let hint = "check that it runs, and KAFKA_BROKERS and KAFKA_PROPERTIES";
    match error {
        LagError::NoAnswer(no_answer) => {
            let failure = Failure::new(Exit::Unreachable, format!("{log} {no_answer}"));
            failure.hint(hint).into()
        }
        LagError::Log(error @ LogError::Unavailable(_)) => {
            let failure = Failure::new(Exit::Unreachable, format!("no response from {log}"));
            failure.because(error).hint(hint).into()
        }
        LagError::Log(error) => anyhow::Error::new(error).context(format!("connecting to {log}")),
    }
}

const HEADERS: [&str; 8] = [
    "partition",
    "position",
    "end",
    "lag",
    "oldest waiting",
    "owner",
    "since",
    "state",
];

fn report(lag: &Lag, is_watch: bool, context: &Context) -> anyhow::Result<()> {
    let output = &context.output;
    if output.is_json() {
        match is_watch {
            true => output.json_line(&document(lag))?,
            false => output.json(&document(lag))?,
        }
    } else {
        if is_watch {
            output.clear()?;
        }
        output.table(&HEADERS, lag.partitions.iter().map(row))?;
        output.info(&summary(lag));
    }
    for warning in &lag.warnings {
        output.warn(warning);
    }
    Ok(())
}

fn row(partition: &Partition) -> Vec<String> {
    let number = |number: Option<i64>| number.map(|it| it.to_string()).unwrap_or_default();
    let waits = partition.oldest_waiting.filter(|it| !it.is_zero());
    let owner = partition.owner.clone();
    let (owner, since) = owner.map(|it| (it.host, it.since)).unwrap_or_default();
    vec![
        partition.partition.to_string(),
        number(partition.position),
        partition.end.to_string(),
        number(partition.lag),
        waits.map(|it| uptime(it.as_secs())).unwrap_or_default(),
        owner,
        since,
        partition.state.name().into(),
    ]
}

fn summary(lag: &Lag) -> String {
    match (lag.records(), lag.oldest_waiting()) {
        (Some(0), _) => "nothing waits".into(),
        (Some(records), Some(oldest)) => {
            let oldest = uptime(oldest.as_secs());
            format!("{records} records wait, the oldest for {oldest}")
        }
        (Some(records), None) => format!("{records} records wait"),
        (None, _) => "how many records wait is not known of every partition".into(),
    }
}

fn document(lag: &Lag) -> Value {
    let seconds = |waiting: Option<Duration>| waiting.map(|it| it.as_secs());
    let partitions = lag.partitions.iter().map(|it| {
        let owner = it.owner.as_ref();
        json!({
            "partition": it.partition,
            "position": it.position,
            "end": it.end,
            "lag": it.lag,
            "oldest_waiting_s": seconds(it.oldest_waiting),
            "owner": owner.map(|owner| &owner.host),
            "since": owner.map(|owner| &owner.since),
        })
    });
    json!({
        "topic": lag.topic,
        "lag": lag.records(),
        "oldest_waiting_s": seconds(lag.oldest_waiting()),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::lag::State;

    fn lag(records: Option<i64>, oldest_s: Option<u64>) -> Lag {
        let partition = Partition {
            partition: 0,
            position: None,
            end: 9,
            lag: records,
            oldest_waiting: oldest_s.map(Duration::from_secs),
            owner: None,
            state: State::Behind,
        };
        Lag {
            topic: "orders".into(),
            partitions: vec![partition],
            no_positions: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_limit_is_a_number_of_records_or_a_duration() {
        assert_eq!("1000".parse(), Ok(Limit::Records(1_000)));
        assert_eq!("30s".parse(), Ok(Limit::Waiting(Duration::from_secs(30))));
        for text in ["", "-1", "s", "1d", "1000 records"] {
            let error = text.parse::<Limit>().unwrap_err();
            assert!(error.contains("neither a number of records"), "{error}");
        }
    }

    #[test]
    fn a_lag_that_is_not_known_is_over_every_limit() {
        let records = Limit::Records(5);
        assert_eq!(records.exceeded(&lag(Some(5), None)), None);
        let over = records.exceeded(&lag(Some(6), None)).unwrap();
        assert_eq!(over, "the lag is over 5 records");
        let waiting = Limit::Waiting(Duration::from_secs(30));
        assert_eq!(waiting.exceeded(&lag(None, Some(30))), None);
        let over = waiting.exceeded(&lag(None, Some(31))).unwrap();
        assert_eq!(over, "the lag is over 30s");
        for limit in [records, waiting] {
            let unknown = limit.exceeded(&lag(None, None)).unwrap();
            assert!(unknown.ends_with("is not known"), "{unknown}");
        }
    }
}
