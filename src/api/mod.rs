//! The public API: accepts orders and serves them.
//!
//! Owns the async runtime, the threads beside it, and how they start and stop. Requests are answered
//! on the runtime; everything that may block (following the log, queries to it, the database) has a plain
//! thread.
//!
//! # Invariants
//!
//! Stopping has an order: no more connections, then the responses in progress, then the log's
//! producers are flushed, since dropping them would purge what they still hold.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::info;

use crate::access::Access;
use crate::admin::{Health, Heartbeat};
use crate::cache::OrderCache;
use crate::config::Topics;
use crate::event_log::EventLog;
use crate::http_server::{self, Connections, Limits, WhenFull};
use crate::shutdown::Shutdown;
use crate::store::StoreEngine;

mod admission;
mod body;
mod body_budget;
mod follower_progress;
mod followers;
mod get_order;
mod health;
mod lookups;
mod metrics;
mod post_order;
mod problem;
mod read_model;
mod response;
mod routes;
mod uid;
mod warm_up;

use body_budget::BodyBudget;
use follower_progress::FollowerProgress;
use health::{CheckState, Clock};
use lookups::Lookups;
use metrics::Metrics;
use read_model::ReadModel;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// How long requests may take to finish when the service stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long the producers may take to send what they hold, at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the threads may take to end; one may be waiting for a response of the log.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a request must have.
    pub access: Access,
    pub topics: Topics,
    pub cache_ttl: Duration,
    pub cache_max_bytes: u64,
    /// How many of the newest orders are loaded at start; 0: none.
    pub load_limit: usize,
    /// How long a GET waits for its lookup before it answers 202.
    pub lookup_wait: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How many connections are open at once; other clients wait in the kernel's queue.
    pub max_connections: usize,
}

/// What handlers and threads share.
struct App {
    settings: Settings,
    log: Arc<dyn EventLog>,
    read_model: ReadModel,
    metrics: Metrics,
    connections: Arc<Connections>,
    /// One permit for each GET that may still wait for its lookup: half of the connections, so that
    /// a slow consumer does not keep orders from being posted.
    waiting_gets: Semaphore,
    body_budget: Arc<BodyBudget>,
    appends_fail: AtomicBool,
    clock: Clock,
    /// When the runtime last ran a task.
    heartbeat: Heartbeat,
    producer: CheckState,
    listener: CheckState,
    warm_up: CheckState,
}

/// Starts the runtime for [`Api::serve`], on which the log may handle its acknowledgements too.
pub fn start_runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .thread_name("api")
        .enable_io()
        .enable_time()
        .build()
        .context("starting the async runtime")
}

/// The API before and while it serves; share its health with the operators' port first.
pub struct Api {
    app: Arc<App>,
    store: Option<Arc<dyn StoreEngine>>,
}

impl Api {
    /// Connects to nothing yet. Without a store the cache is not warmed up.
    pub fn new(
        settings: Settings,
        log: Arc<dyn EventLog>,
        store: Option<Arc<dyn StoreEngine>>,
    ) -> Api {
        let connections = Arc::new(Connections::new(limits(&settings)));
        let body_budget = BodyBudget::new(body::BUDGET_BYTES);
        let read_model = ReadModel {
            cache: OrderCache::new(settings.cache_max_bytes, settings.cache_ttl),
            lookups: Lookups::default(),
            orders: FollowerProgress::new(&settings.topics.orders),
            replies: FollowerProgress::new(&settings.topics.found),
            reply_lines: Mutex::default(),
            forgotten: AtomicU64::default(),
        };
        let warm_up = match (&store, settings.load_limit) {
            (None, _) => "nothing is warmed up: no database is configured",
            (Some(_), 0) => "nothing is warmed up: CACHE_LOAD_LIMIT is 0",
            (Some(_), _) => "not done yet",
        };
        let app = App {
            read_model,
            log,
            metrics: Metrics::new(
                connections.cut.clone(),
                body_budget.refused.clone(),
                &routes::EXPECTED,
            ),
            waiting_gets: Semaphore::new(connections.max().div_ceil(2)),
            connections,
            body_budget,
            appends_fail: AtomicBool::new(false),
            clock: Clock::default(),
            heartbeat: Heartbeat::default(),
            producer: CheckState::new("producer", false, "not connected yet"),
            listener: CheckState::new("listener", false, "not listening yet"),
            warm_up: CheckState::new("warm-up", true, warm_up),
            settings,
        };
        Api {
            app: Arc::new(app),
            store,
        }
    }

    /// What the operators' port shows.
    pub fn health(&self) -> Arc<dyn Health> {
        self.app.clone()
    }

    /// A function that empties the cache, for demonstrations.
    pub fn cache_emptier(&self) -> impl Fn() + Send + use<> {
        let app = self.app.clone();
        move || app.read_model.cache.clear()
    }

    /// Serves until a stop is requested, then drains: at most about 11 s, the rest of which is
    /// dropped. Starts, and stays, while the log and the database are unavailable.
    pub fn serve(
        self,
        listener: TcpListener,
        runtime: Runtime,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let app = &self.app;
        let address = listener
            .local_addr()
            .context("reading the address listened on")?;
        let threads = self.start_threads(shutdown)?;
        let serving = async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(heartbeat(app.clone()));
            app.listener.set(true, &format!("listening on {address}"));
            tokio::spawn(announce_stop(app.clone(), shutdown.announced()));
            info!("listening on http://{address}");
            let (router, app) = (routes::router(app.clone()), app.clone());
            let connections = app.connections.clone();
            let respond = move |client, request: Request<Incoming>| {
                routes::respond(app.clone(), router.clone(), client, request.map(Body::new))
            };
            http_server::serve(listener, connections, respond, shutdown.clone()).await;
            Ok::<_, std::io::Error>(())
        };
        let served = runtime.block_on(serving).context("serving the API");
        app.listener.set(false, "stopping");
        // Also when serving failed: the threads must end.
        shutdown.request();
        stop(runtime, app, threads);
        served
    }

    fn start_threads(&self, shutdown: &Shutdown) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let log = |run: fn(&dyn EventLog, &ReadModel, &Shutdown)| {
            move |app: &App, shutdown: &Shutdown| run(&*app.log, &app.read_model, shutdown)
        };
        let producers = |app: &App, shutdown: &Shutdown| {
            warm_up::warm_producers(&*app.log, &app.producer, shutdown)
        };
        let mut threads = vec![
            self.start("follow-orders", shutdown, log(followers::follow_orders))?,
            self.start("follow-replies", shutdown, log(followers::follow_replies))?,
            self.start("watch-log", shutdown, log(followers::watch_log))?,
            self.start("warm-producers", shutdown, producers)?,
        ];
        match self.store.clone() {
            Some(store) if self.app.settings.load_limit > 0 => {
                let cache = move |app: &App, shutdown: &Shutdown| {
                    warm_up::warm_cache(app, &*store, shutdown);
                };
                threads.push(self.start("warm-cache", shutdown, cache)?);
            }
            Some(_) => {}
            None => info!("nothing is warmed up: no database is configured (DB_URL)"),
        }
        Ok(threads)
    }

    fn start(
        &self,
        name: &str,
        shutdown: &Shutdown,
        run: impl FnOnce(&App, &Shutdown) + Send + 'static,
    ) -> anyhow::Result<JoinHandle<()>> {
        let (app, shutdown) = (self.app.clone(), shutdown.clone());
        thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&app, &shutdown))
            .with_context(|| format!("starting the thread `{name}`"))
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_connections: settings.max_connections,
        when_full: WhenFull::Wait,
        head_timeout: HEAD_TIMEOUT,
        max_head_bytes: MAX_HEAD_BYTES,
        keep_alive: settings.keep_alive,
        drain_timeout: DRAIN_TIMEOUT,
    }
}

async fn heartbeat(app: Arc<App>) {
    loop {
        app.heartbeat.record();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Makes the API unready as soon as its stop is announced: requests are served for a while still.
async fn announce_stop(app: Arc<App>, announced: impl Future<Output = ()>) {
    announced.await;
    app.listener.set(false, "stopping");
}

/// After the drain: requests that are left are dropped, and what the producers hold is sent.
fn stop(runtime: Runtime, app: &App, threads: Vec<JoinHandle<()>>) {
    runtime.shutdown_timeout(Duration::from_millis(100));
    app.log.flush(FLUSH_TIMEOUT);
    let until = Instant::now() + JOIN_TIMEOUT;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        // A thread that waits for the log is left behind: it holds nothing that matters.
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("a thread of the API panicked");
        }
    }
}
