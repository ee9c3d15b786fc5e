//! `orders create-topics`: creates the topics, or checks existing ones.

mod plan;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::commands::{Context, connect, open};
use crate::config::{DataArgs, LogArgs, LogEngine, LogSettings, duration};
use crate::event_log::{LogError, OffsetRange, TopicAdmin, TopicDescription, TopicSpec};
use crate::exit::{Exit, Failure};
use plan::{Finding, findings, specs};

const EXAMPLES: &str = "\
Examples:
  orders create-topics                  create missing topics, list the topics
  orders create-topics --partitions 12  with twelve partitions for the orders
  orders create-topics --check          exit code 3 when one is missing or differs

An existing topic is left as it is, and differences are reported. Partitions are
added only to a topic that never held a record: all versions of an order must
stay in one partition.";

/// The pause between two counts of the brokers.
const BROKER_PAUSE: Duration = Duration::from_millis(500);

/// How long brokers may take to learn of partitions that were added, and the pause between two looks.
const SETTLING: Duration = Duration::from_secs(5);
const SETTLING_PAUSE: Duration = Duration::from_millis(50);

/// How many partitions of a topic the table shows; the rest is counted.
const OFFSETS_SHOWN: usize = 8;

/// The arguments of `orders create-topics`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    requested: Requested,

    /// Change nothing; exit code 3 when a topic is missing or differs
    #[arg(long)]
    check: bool,

    /// List every topic of the cluster
    #[arg(long)]
    all: bool,

    /// How long to wait for Kafka, and for the brokers that the replicas need [default: 30s; one
    /// attempt with --check]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

/// The requested shape of the topics.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
struct Requested {
    /// Partitions of the orders topic [default: 4, or 1 when embedded]; the lookup topics have 1
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: Option<i32>,

    /// Replicas of each partition [default: 3, or the number of brokers if that is less]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=100))]
    replication_factor: Option<i32>,
}

/// Waits for Kafka, compares existing topics with the wanted ones, creates the missing ones.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let is_database_named = context.settings.variable("DB_URL")?.is_some();
    let settings = args.log.resolve(&args.data, is_database_named)?;
    if let LogEngine::Embedded(folder) = &settings.engine
        && !args.check
    {
        folder.create()?;
    }
    let wait = connect::wait(args.wait, args.check);
    let admin = open::topic_admin(&settings)?;
    let replicas = args.requested.replication_factor.unwrap_or(1);
    let brokers = await_brokers(&*admin, &settings, (replicas, wait), context)?;
    let wanted = specs(&settings, &args.requested, brokers)?;
    let names = wanted.each_ref().map(|spec| spec.name.as_str());

    let found = findings(&wanted, &describe(&*admin, Some(&names))?);
    let may_grow = args.requested.partitions.is_some();
    let grows = !args.check && may_grow && found.iter().any(|it| it.to_grow().is_some());
    if !args.check {
        change(&*admin, &found, may_grow, context)?;
    }
    let names = (!args.all).then_some(&names[..]);
    let (listed, left) = described_after(&*admin, names, &wanted, grows)?;
    let refused = refusal(&left, &args);
    let differences = left.iter().flat_map(Finding::differences);
    for difference in differences.filter(|difference| Some(difference) != refused.as_ref()) {
        context.output.warn(&difference);
    }
    report(context, &listed, &left)?;
    match refused {
        Some(reason) => {
            let hint = "create a topic of another name, and set KAFKA_TOPIC to it";
            Err(Failure::new(Exit::Failed, reason).hint(hint).into())
        }
        None if args.check && !left.iter().all(Finding::is_as_wanted) => Ok(Exit::CheckFailed),
        None => Ok(Exit::Done),
    }
}

/// The topics as they are now. Brokers learn of partitions a moment after the controller has added them:
/// where it has, this waits until they say so, at most [`SETTLING`].
fn described_after(
    admin: &dyn TopicAdmin,
    names: Option<&[&str]>,
    wanted: &[TopicSpec],
    has_grown: bool,
) -> anyhow::Result<(Vec<TopicDescription>, Vec<Finding>)> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let listed = describe(admin, names)?;
        let left = findings(wanted, &listed);
        let is_settled = !has_grown || left.iter().all(|it| it.to_grow().is_none());
        if is_settled || Instant::now() >= deadline {
            return Ok((listed, left));
        }
        std::thread::sleep(SETTLING_PAUSE);
    }
}

/// Creates those of the three topics that are missing, and leaves the others as they are.
pub(super) fn create_missing(
    settings: &LogSettings,
    within: Duration,
    context: &Context,
) -> anyhow::Result<()> {
    let admin = &*open::topic_admin(settings)?;
    let brokers = await_brokers(admin, settings, (1, within), context)?;
    let wanted = specs(settings, &Requested::default(), brokers)?;
    let names = wanted.each_ref().map(|spec| spec.name.as_str());
    let found = findings(&wanted, &describe(admin, Some(&names))?);
    change(admin, &found, false, context)
}

/// In what topics differ from those that this command creates, a sentence each. Any number of
/// partitions of the orders is fine.
pub(super) fn differences(
    settings: &LogSettings,
    brokers: usize,
    topics: &[TopicDescription],
) -> Result<Vec<String>, Failure> {
    let mut all = topics.iter();
    let orders = all.find(|topic| topic.name == settings.topics.orders);
    let partitions = orders.and_then(|topic| i32::try_from(topic.ranges.len()).ok());
    let requested = Requested {
        partitions,
        ..Requested::default()
    };
    let wanted = specs(settings, &requested, brokers)?;
    let found = findings(&wanted, topics);
    Ok(found.iter().flat_map(Finding::differences).collect())
}

/// The number of brokers, once there are as many as the replicas need, or the wait has ended: some may
/// still be starting.
fn await_brokers(
    admin: &dyn TopicAdmin,
    settings: &LogSettings,
    (replicas, within): (i32, Duration),
    context: &Context,
) -> anyhow::Result<usize> {
    // An embedded log counts as one broker for ever.
    let needed = match settings.engine {
        LogEngine::Kafka { .. } => usize::try_from(replicas).unwrap_or_default(),
        LogEngine::Embedded(_) => 1,
    };
    let deadline = Instant::now() + within;
    let mut left = within;
    let count = || {
        let brokers = await_response(admin, settings, left, context);
        left = deadline.saturating_duration_since(Instant::now());
        brokers
    };
    count_until(needed, deadline, count, |text| context.output.info(text))
}

/// The number of brokers as soon as there are as many as needed, else at the deadline.
fn count_until(
    needed: usize,
    deadline: Instant,
    mut count: impl FnMut() -> anyhow::Result<usize>,
    mut report: impl FnMut(&str),
) -> anyhow::Result<usize> {
    let mut is_reported = false;
    loop {
        let brokers = count()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if brokers >= needed || left.is_zero() {
            return Ok(brokers);
        }
        if !std::mem::replace(&mut is_reported, true) {
            let what = format!("{needed} replicas need {needed} brokers, and {brokers} respond");
            report(&format!("waiting for brokers: {what}"));
        }
        std::thread::sleep(BROKER_PAUSE.min(left));
    }
}

/// The number of brokers, once one responds.
fn await_response(
    admin: &dyn TopicAdmin,
    settings: &LogSettings,
    within: Duration,
    context: &Context,
) -> anyhow::Result<usize> {
    // An embedded log has no brokers, but its files may not be readable yet.
    let topics = &settings.topics;
    let names = [&*topics.orders, &*topics.lookup, &*topics.found];
    connect::to_log(settings, connect::LOG_HINT, within, context, || {
        let brokers = admin.brokers()?;
        match admin.describe(Some(&names)) {
            Err(error) if error.is_unavailable() => Err(error),
            _ => Ok(brokers),
        }
    })
}

fn describe(
    admin: &dyn TopicAdmin,
    names: Option<&[&str]>,
) -> anyhow::Result<Vec<TopicDescription>> {
    let mut topics = admin
        .describe(names)
        .context("describing the topics of the log")?;
    if let Some(names) = names {
        topics.sort_by_key(|topic| names.iter().position(|name| *name == topic.name));
    } else {
        topics.sort_by(|one, other| one.name.cmp(&other.name));
    }
    Ok(topics)
}

/// Creates missing topics and, with `may_grow`, grows those that may grow; leaves all others as they
/// are.
fn change(
    admin: &dyn TopicAdmin,
    found: &[Finding],
    may_grow: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let missing = found.iter().filter_map(Finding::to_create);
    let missing: Vec<TopicSpec> = missing.cloned().collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|spec| spec.name.as_str()).collect();
        let names = names.join("`, `");
        admin
            .create_topics(&missing)
            .map_err(|error| change_error(error, format!("creating `{names}`")))?;
        context.output.info(&format!("created `{names}`"));
    }
    let to_grow = found.iter().filter_map(Finding::to_grow);
    for (topic, partitions) in to_grow.filter(|_| may_grow) {
        admin.add_partitions(topic, partitions).map_err(|error| {
            let doing = format!("adding partitions to `{topic}`, up to {partitions}");
            change_error(error, doing)
        })?;
        context.output.info(&format!(
            "added partitions to `{topic}`, which has no records: it has {partitions} now"
        ));
    }
    Ok(())
}

/// A change that was not confirmed. Brokers that became unreachable may have applied it.
fn change_error(error: LogError, doing: String) -> anyhow::Error {
    if !error.is_unavailable() {
        return anyhow::Error::new(error).context(doing);
    }
    let hint = "it may have succeeded; run it again, existing topics are left as they are";
    Failure::new(Exit::TimedOut, doing)
        .because(error)
        .hint(hint)
        .into()
}

/// Why the partitions requested on the command line cannot be added. Any other difference is only
/// reported; for `--check` this one is a difference like the others.
fn refusal(left: &[Finding], args: &Args) -> Option<String> {
    let is_requested = args.requested.partitions.is_some() && !args.check;
    left.iter()
        .find_map(Finding::growth_refused)
        .filter(|_| is_requested)
}

fn report(context: &Context, topics: &[TopicDescription], left: &[Finding]) -> anyhow::Result<()> {
    if context.output.is_json() {
        return context.output.json(&document(topics, left));
    }
    let rows = topics.iter().map(|topic| {
        vec![
            topic.name.clone(),
            topic.ranges.len().to_string(),
            topic.replication_factor.to_string(),
            records(&topic.ranges).to_string(),
            offsets(&topic.ranges),
        ]
    });
    context.output.table(
        &["topic", "partitions", "replicas", "records", "offsets"],
        rows,
    )
}

fn records(ranges: &[OffsetRange]) -> i64 {
    ranges.iter().map(|range| range.high - range.low).sum()
}

/// `low-high` of each partition; those beyond [`OFFSETS_SHOWN`] are counted.
fn offsets(ranges: &[OffsetRange]) -> String {
    let shown = ranges.iter().take(OFFSETS_SHOWN);
    let mut text: Vec<String> = shown
        .map(|range| format!("{}-{}", range.low, range.high))
        .collect();
    if ranges.len() > OFFSETS_SHOWN {
        text.push(format!("and {} more", ranges.len() - OFFSETS_SHOWN));
    }
    text.join(" ")
}

fn document(topics: &[TopicDescription], left: &[Finding]) -> Value {
    let topics: Vec<Value> = topics
        .iter()
        .map(|topic| {
            let ranges = topic.ranges.iter();
            let offsets: Vec<Value> = ranges
                .map(|range| json!({ "low": range.low, "high": range.high }))
                .collect();
            json!({
                "name": topic.name,
                "partitions": topic.ranges.len(),
                "replicas": topic.replication_factor,
                "records": records(&topic.ranges),
                "offsets": offsets,
            })
        })
        .collect();
    let differences: Vec<String> = left.iter().flat_map(Finding::differences).collect();
    json!({ "topics": topics, "differences": differences })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::exit_of;

    #[test]
    fn replicas_are_waited_for_while_their_brokers_are_still_starting() {
        let mut counts = [2, 2, 3].into_iter();
        let mut reports = Vec::new();
        let count = || Ok(counts.next().expect("it is not asked once more"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let brokers = count_until(3, deadline, count, |text| reports.push(text.to_owned()));
        assert_eq!(brokers.unwrap(), 3);
        let report = "waiting for brokers: 3 replicas need 3 brokers, and 2 respond";
        assert_eq!(reports, [report]);
        let at_once = count_until(3, Instant::now(), || Ok(2), |_| ());
        assert_eq!(at_once.unwrap(), 2);
    }

    #[test]
    fn a_change_without_response_times_out_and_a_refused_one_fails() {
        let exit_code = |kind: fn(String) -> LogError| {
            let error = kind("could not create topics: timed out".into());
            let error = change_error(error, "creating `orders`".into());
            let text = "creating `orders`: could not create topics: timed out";
            assert_eq!(format!("{error:#}"), text);
            exit_of(&error).0
        };
        assert_eq!(exit_code(LogError::Unavailable), Exit::TimedOut);
        assert_eq!(exit_code(LogError::Refused), Exit::Failed);
    }
}
