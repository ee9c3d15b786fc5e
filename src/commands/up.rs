//! `orders up`: the whole pipeline in one process.
//!
//! Does what `migrate`, `create-topics`, `serve-api` and `consume` do, on the engines that the
//! settings name. The API stops first, and the consumer when the API has sent its last response,
//! because the consumer answers the API's lookups.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::admin::Admin;
use crate::api::{self, Api};
use crate::commands::ports::Ports;
use crate::commands::serve_api::api_settings;
use crate::commands::{Context, create_topics, migrate, open};
use crate::config::{
    self, AccessArgs, AdminArgs, CacheArgs, EngineArgs, GroupArgs, HttpArgs, duration,
};
use crate::consumer::{self, Status};
use crate::data_folder::Role;
use crate::event_log::EventLog;
use crate::event_log::sqlite::Reach;
use crate::exit::{Exit, Failure};
use crate::http_server;
use crate::output::Output;
use crate::shutdown::Shutdown;
use crate::store::StoreEngine;

mod demo;
mod health;
mod summary;

use demo::Demo;
use health::Both;
use summary::Summary;

const EXAMPLES: &str = "\
Examples:
  orders up                            in files of ./orders-data
  orders up --demo                     time an order through every hop
  orders up --http-addr 127.0.0.1:0    on a free port, which it prints
  orders up --brokers HOST:9092 --db-url postgresql://…";

/// The pause between two checks of readiness.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs until it is stopped: the first SIGINT, SIGTERM or SIGHUP drains, a second SIGINT or SIGTERM
/// ends the process at once. Creates missing tables and topics.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Send an example order, get it back, print the time of each hop, then go on
    #[arg(long)]
    demo: bool,

    /// How long to wait for Kafka and the database at the start
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,

    #[command(flatten)]
    engines: EngineArgs,
    #[command(flatten)]
    groups: GroupArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Prepares and runs everything until a stop is requested.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let log_settings = args.engines.log()?;
    let store_settings = args.engines.store()?;
    let (http_addr, admin_addr) = (args.http.http_addr, args.admin.admin_addr);
    let addrs = [("HTTP_ADDR", http_addr), ("ADMIN_ADDR", admin_addr)];
    let ports = Ports::open(&args.access, &addrs)?;
    let group = Some(args.groups.group.as_str());
    context.log_start("up", &log_settings, Some(&store_settings), group);
    let demo_token = demo_token(args.demo && ports.need_tokens(), context)?;
    let api_settings = api_settings(
        &log_settings,
        &args.http,
        &args.cache,
        ports.access(http_addr),
    );
    CacheArgs::warn(&context.settings)?;
    let consumer_settings = consumer::Settings {
        topics: log_settings.topics.clone(),
        group: args.groups.group,
        lookup_group: args.groups.lookup_group,
        accepted_gaps: Vec::new(),
    };

    let _api_role = open::lock_role(&log_settings, Role::Api)?;
    let _consumer_role = open::lock_role(&log_settings, Role::Consumer)?;
    let listener = http_server::bind(http_addr, "--http-addr", "HTTP_ADDR")?;
    let runtime = api::start_runtime()?;
    let log = open::service_log(
        "up",
        &log_settings,
        Reach::ThisProcess,
        Some(runtime.handle()),
    )?;
    let store = open::store(&store_settings, context)?;
    migrate::apply_pending(&*store, args.wait, context)?;
    create_topics::create_missing(&log_settings, args.wait, context)?;

    let shutdown = Shutdown::install(args.http.drain_delay)?;
    ports.watch(&shutdown)?;
    let api = Api::new(api_settings, log.clone(), Some(store.clone()));
    let status = Status::new();
    let both = Arc::new(Both::new(api.health(), status.clone()));
    let public = listener
        .local_addr()
        .context("asking for the address listened on")?;
    let service = context.service("up", Some(public));
    let admin = Admin::start(admin_addr, ports.access(admin_addr), service, both.clone())?;
    let summary = Summary {
        api_url: format!("http://{}", http_server::reachable(public)),
        admin_url: format!("http://{}", http_server::reachable(admin.addr())),
        log: log_settings,
        store: store_settings,
    };
    let demo = args.demo.then(|| Demo {
        api_url: summary.api_url.clone(),
        token: demo_token,
        log: log.clone(),
        orders_topic: summary.log.topics.orders.clone(),
        store: store.clone(),
        empty_cache: Box::new(api.cache_emptier()),
    });
    let consuming = ConsumerThread::start(consumer_settings, log, store, status, &shutdown)?;
    let announcing = {
        let (output, shutdown) = (context.output.clone(), shutdown.clone());
        thread::spawn(move || announce(&summary, &both, began, demo, &output, &shutdown))
    };

    let served = api.serve(listener, runtime, &shutdown);
    // Also when serving failed: the consumer must stop.
    shutdown.request();
    let consumed = consuming.stop();
    let announced = announcing
        .join()
        .map_err(|_| anyhow!("an internal error"))?;
    served.and(consumed).and(announced)?;
    tracing::info!("stopped: every order that was accepted with 202 is in the log");
    Ok(Exit::Done)
}

/// The token of the demo, which posts and gets an order as any client does.
fn demo_token(is_needed: bool, context: &Context) -> anyhow::Result<Option<String>> {
    if !is_needed {
        return Ok(None);
    }
    let file = context.settings.variable("ORDERS_TOKEN_FILE")?;
    let token = config::client_token(&context.settings, file.as_deref().map(Path::new))?;
    if token.is_none() {
        let message = "`--demo` sends an order, and requests need a token (AUTH_TOKENS_FILE)";
        let hint = "set ORDERS_TOKEN to a token with the scopes orders:write and orders:read";
        return Err(Failure::usage(message).hint(hint).into());
    }
    Ok(token)
}

/// The consumer in its thread, with a stop of its own that is requested when the API has ended.
struct ConsumerThread {
    stop: Shutdown,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl ConsumerThread {
    /// Starts the consumer. Its end stops `everything`.
    fn start(
        settings: consumer::Settings,
        log: Arc<dyn EventLog>,
        store: Arc<dyn StoreEngine>,
        status: Arc<Status>,
        everything: &Shutdown,
    ) -> anyhow::Result<ConsumerThread> {
        let stop = Shutdown::manual();
        let (stopping, everything) = (stop.clone(), everything.clone());
        let thread = thread::Builder::new()
            .name("consumer".into())
            .spawn(move || {
                let ended = consumer::run(settings, log, store, status, stopping);
                everything.request();
                ended
            })
            .context("starting the consumer's thread")?;
        Ok(ConsumerThread { stop, thread })
    }

    fn stop(self) -> anyhow::Result<()> {
        self.stop.request();
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the consumer ended with an internal error"))?
    }
}

/// Prints the summary when everything is ready, then runs the demo. A demo that fails stops everything.
fn announce(
    summary: &Summary,
    both: &Both,
    began: Instant,
    demo: Option<Demo>,
    output: &Output,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    while !both.is_ready() {
        if shutdown.wait_timeout(POLL_INTERVAL) {
            return Ok(());
        }
    }
    output.info(&summary.text(began.elapsed()));
    let Some(demo) = demo else {
        return Ok(());
    };
    let shown = demo.run(output).context("the demo");
    match &shown {
        Ok(()) => output.info("\nEverything runs until Ctrl-C."),
        Err(_) => shutdown.request(),
    }
    shown
}
