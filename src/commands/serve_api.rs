//! `orders serve-api`: take orders, and answer for them.

use std::net::SocketAddr;

use crate::admin::{Admin, Service};
use crate::api::{Api, Settings};
use crate::commands::{Context, open};
use crate::config::{
    self, AdminArgs, CacheArgs, CacheSettings, DataArgs, HttpArgs, HttpSettings, LogArgs,
    LogSettings, StoreArgs,
};
use crate::data_folder::Role;
use crate::exit::Exit;
use crate::http_server::{self, descriptors};
use crate::shutdown::Shutdown;

/// Runs until it is stopped: the first SIGINT or SIGTERM finishes what is under way, a second one
/// quits at once. Starts, and stays, while Kafka or the database is away. Without a database the
/// cache is not warmed up at start.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Serves until a stop is requested.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let environment = &context.environment;
    let log_settings = args.log.settle(environment, &args.store, &args.data)?;
    let store_settings = args
        .store
        .settle_optional(environment, &args.log, &args.data)?;
    let http = args.http.settle(environment)?;
    let admin_addr = args
        .admin
        .settle(environment, SocketAddr::from(([127, 0, 0, 1], 8081)))?;
    let settings = api_settings(&log_settings, &http, &args.cache.settle(environment)?);

    let shutdown = Shutdown::install()?;
    let _role = open::take(&log_settings, Role::Api)?;
    let listener = http_server::bind(http.addr, "--http-addr", "HTTP_ADDR")?;
    let log = open::log(&log_settings)?;
    let store = store_settings.as_ref().map(open::store).transpose()?;
    let api = Api::new(settings, log, store);
    let service = Service {
        role: "api",
        api: Some(listener.local_addr()?),
        settings: Vec::new(),
        control_folder: config::control_folder(),
    };
    let _admin = Admin::start(admin_addr, service, api.health())?;

    api.serve(listener, &shutdown)?;
    tracing::info!("stopped: every order that was answered with 202 is in the log");
    Ok(shutdown.exit_code())
}

/// What the API is told, of all that was settled.
pub(super) fn api_settings(
    log: &LogSettings,
    http: &HttpSettings,
    cache: &CacheSettings,
) -> Settings {
    Settings {
        orders_topic: log.topics.orders.clone(),
        lookup_topic: log.topics.lookup.clone(),
        found_topic: log.topics.found.clone(),
        cache_ttl: cache.ttl,
        cache_max_bytes: cache.max_bytes,
        load_limit: cache.load_limit,
        lookup_wait: http.lookup_wait,
        keep_alive: http.keep_alive,
        max_connections: descriptors::max_connections(http.max_connections),
    }
}
