//! `orders consume`: store every record of the topic, and answer lookups.

use std::net::SocketAddr;

use crate::admin::{Admin, Service};
use crate::commands::{Context, open};
use crate::config::{self, AdminArgs, DataArgs, GroupArgs, LogArgs, StoreArgs};
use crate::consumer::{self, AcceptedGap, Settings, Status};
use crate::data_folder::Role;
use crate::exit::Exit;
use crate::shutdown::Shutdown;

/// Runs until it is stopped: the first SIGINT or SIGTERM finishes what is under way, a second one
/// quits at once. Starts, and stays, while Kafka or the database is away.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    admin: AdminArgs,

    /// Go on without records that were deleted before they were read, repeatable
    ///
    /// Such a partition stops and says which gap to accept; both offsets are inclusive. The gap is
    /// written to the table log_gaps. Any other gap stops the partition again.
    #[arg(long = "accept-gap", value_name = "TOPIC/PARTITION:FROM-TO")]
    accepted_gaps: Vec<AcceptedGap>,
}

/// Consumes until a stop is requested.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let environment = &context.environment;
    let log_settings = args.log.settle(environment, &args.store, &args.data)?;
    let store_settings = args.store.settle(environment, &args.log, &args.data)?;
    let admin_addr = args
        .admin
        .settle(environment, SocketAddr::from(([127, 0, 0, 1], 8082)))?;
    let settings = Settings {
        topics: log_settings.topics.clone(),
        group: args.group.settle(environment)?,
        lookup_group: args.group.settle_lookup(environment)?,
        accepted_gaps: args.accepted_gaps,
    };

    let shutdown = Shutdown::install()?;
    let _role = open::take(&log_settings, Role::Consumer)?;
    let log = open::log(&log_settings)?;
    let store = open::store(&store_settings)?;
    let status = Status::new();
    let service = Service {
        role: "consumer",
        api: None,
        settings: Vec::new(),
        control_folder: config::control_folder(),
    };
    let _admin = Admin::start(admin_addr, service, status.clone())?;

    consumer::run(settings, log, store, status, shutdown.clone())?;
    tracing::info!("stopped: everything that was read is stored or will be read again");
    Ok(shutdown.exit_code())
}
