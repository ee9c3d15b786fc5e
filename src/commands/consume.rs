//! `orders consume`: stores every record of the topic, and answers lookups.

use std::time::Duration;

use crate::admin::Admin;
use crate::commands::ports::Ports;
use crate::commands::{Context, open};
use crate::config::{AccessArgs, AdminArgs, EngineArgs, GroupArgs};
use crate::consumer::{self, AcceptedGap, Settings, Status};
use crate::data_folder::Role;
use crate::event_log::EventLog;
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::shutdown::Shutdown;

const EXAMPLES: &str = "\
Examples:
  orders consume --brokers 127.0.0.1:9092
  orders consume --admin-addr 127.0.0.1:0        a second one on this machine
  orders consume --accept-gap orders/3:100-249   skip records that were deleted";

/// Runs until it is stopped: the first SIGINT, SIGTERM or SIGHUP drains, a second SIGINT or SIGTERM
/// ends the process at once. Starts and keeps running while Kafka or the database is unavailable.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("admin_addr", |argument| argument.default_value("127.0.0.1:8082")))]
pub struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    #[command(flatten)]
    groups: GroupArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    access: AccessArgs,

    /// Skip records that were deleted before they were read, repeatable
    ///
    /// Such a partition stops and logs which gap to accept; both offsets are inclusive. The gap is
    /// written to the table log_gaps. Any other gap stops the partition again.
    #[arg(long = "accept-gap", value_name = "TOPIC/PARTITION:FROM-TO")]
    accepted_gaps: Vec<AcceptedGap>,
}

/// Consumes until a stop is requested.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let log_settings = args.engines.log()?;
    let store_settings = args.engines.store()?;
    let admin = args.admin.admin_addr;
    let ports = Ports::open(&args.access, &[("ADMIN_ADDR", admin)])?;
    let group = Some(args.groups.group.as_str());
    context.log_start("consumer", &log_settings, Some(&store_settings), group);
    let settings = Settings {
        topics: log_settings.topics.clone(),
        group: args.groups.group,
        lookup_group: args.groups.lookup_group,
        accepted_gaps: args.accepted_gaps,
    };

    let shutdown = Shutdown::install(Duration::ZERO)?;
    ports.watch(&shutdown)?;
    let _role = open::lock_role(&log_settings, Role::Consumer)?;
    let log = open::service_log("consumer", &log_settings, Reach::OtherProcesses, None)?;
    check_gaps(&settings.accepted_gaps, &*log, &settings.topics.orders)?;
    let store = open::store(&store_settings, context)?;
    let status = Status::new();
    let service = context.service("consumer", None);
    let _admin = Admin::start(admin, ports.access(admin), service, status.clone())?;

    consumer::run(settings, log, store, status, shutdown.clone())?;
    tracing::info!("stopped: every record that was read is stored or will be read again");
    Ok(Exit::Done)
}

/// Refuses gaps of a topic or a partition that is not there: to accept them would do nothing. While the
/// log is unavailable the partitions cannot be checked, and the consumer must start all the same.
fn check_gaps(gaps: &[AcceptedGap], log: &dyn EventLog, topic: &str) -> anyhow::Result<()> {
    let refuse = |gap: &AcceptedGap, reason: String| {
        Err(Failure::usage(format!("`--accept-gap` is `{gap}`, and {reason}")).into())
    };
    if let Some(gap) = gaps.iter().find(|gap| gap.topic != topic) {
        return refuse(gap, format!("the topic of the orders is `{topic}`"));
    }
    if gaps.is_empty() {
        return Ok(());
    }
    let partitions = match log.topic(topic) {
        Ok(state) => state.highs.len(),
        Err(error) => {
            tracing::warn!("cannot check the partitions of --accept-gap: {error}");
            return Ok(());
        }
    };
    let exists = |gap: &AcceptedGap| usize::try_from(gap.partition).is_ok_and(|it| it < partitions);
    match gaps.iter().find(|gap| !exists(gap)) {
        Some(gap) => refuse(
            gap,
            format!("topic `{topic}` has {partitions} partition(s), from 0"),
        ),
        None => Ok(()),
    }
}
