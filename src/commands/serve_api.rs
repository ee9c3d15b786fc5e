//! `orders serve-api`: accepts orders and returns them.

use crate::access::Access;
use crate::admin::Admin;
use crate::api::{self, Api, Settings};
use crate::commands::ports::Ports;
use crate::commands::{Context, open};
use crate::config::{AccessArgs, AdminArgs, CacheArgs, EngineArgs, HttpArgs, LogSettings};
use crate::data_folder::Role;
use crate::event_log::sqlite::Reach;
use crate::exit::Exit;
use crate::http_server::{self, descriptors};
use crate::shutdown::Shutdown;

const EXAMPLES: &str = "\
Examples:
  orders serve-api --brokers 127.0.0.1:9092
  orders serve-api --http-addr 127.0.0.1:0     on a free port, which it prints";

/// Runs until it is stopped: the first SIGINT, SIGTERM or SIGHUP drains, a second SIGINT or SIGTERM
/// ends the process at once. Starts and keeps running while Kafka or the database is unavailable.
/// Without a database the cache is not warmed up at start.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Serves until a stop is requested.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let log_settings = args.engines.log()?;
    let store_settings = args.engines.optional_store();
    let (public, admin) = (args.http.http_addr, args.admin.admin_addr);
    let ports = Ports::open(
        &args.access,
        &[("HTTP_ADDR", public), ("ADMIN_ADDR", admin)],
    )?;
    context.log_start("api", &log_settings, store_settings.as_ref(), None);
    let settings = api_settings(&log_settings, &args.http, &args.cache, ports.access(public));
    CacheArgs::warn(&context.settings)?;

    let shutdown = Shutdown::install(args.http.drain_delay)?;
    ports.watch(&shutdown)?;
    let _role = open::lock_role(&log_settings, Role::Api)?;
    let listener = http_server::bind(public, "--http-addr", "HTTP_ADDR")?;
    let runtime = api::start_runtime()?;
    let runtime_handle = Some(runtime.handle());
    let log = open::service_log("api", &log_settings, Reach::OtherProcesses, runtime_handle)?;
    let store = store_settings
        .as_ref()
        .map(|settings| open::store(settings, context))
        .transpose()?;
    let api = Api::new(settings, log, store);
    let service = context.service("api", Some(listener.local_addr()?));
    let _admin = Admin::start(admin, ports.access(admin), service, api.health())?;

    api.serve(listener, runtime, &shutdown)?;
    tracing::info!("stopped: every order that was answered with 202 is in the log");
    Ok(Exit::Done)
}

/// The settings of the API.
pub(super) fn api_settings(
    log: &LogSettings,
    http: &HttpArgs,
    cache: &CacheArgs,
    access: Access,
) -> Settings {
    Settings {
        topics: log.topics.clone(),
        access,
        cache_ttl: cache.ttl,
        cache_max_bytes: cache.max_bytes,
        load_limit: cache.load_limit,
        lookup_wait: http.lookup_wait,
        keep_alive: http.keep_alive,
        max_connections: descriptors::max_connections(http.max_connections),
    }
}
