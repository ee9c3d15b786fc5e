//! The benchmarks of the pipeline, each compared with the bare limit of this machine in the same run.
//!
//! `load` sends requests, `limits` has the bare programs (each a process of its own, this program
//! again), `report` prints the table. A ratio is measured / limit; it compares within a run, not across
//! machines. The pipeline is the real binary.

use std::time::{Duration, Instant};

mod embedded;
mod limits;
mod load;
mod report;
mod scale;

use load::{Load, Requests};
use report::{Report, Row};
use support::kafka::RawRecord;
use support::orders::order;
use support::{Db, Env, Process, TIMEOUT, http};

/// A part of the benchmarks, by its name on the command line.
type Part = (&'static str, fn(&mut Report));

const PARTS: [Part; 7] = [
    ("post", post),
    ("get", get),
    ("lookup", lookup),
    ("apply", apply),
    ("visible", visible),
    ("embedded", embedded::all),
    (SCALE, scale::run),
];

/// Runs only when it is named.
const SCALE: &str = "scale";

/// How many orders are looked up one after the other.
const LOOKUPS: u32 = 1000;

/// As many as wait in the topic when the consumer starts.
const BACKLOG: u32 = 100_000;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    if let Some(limit) = args.first().and_then(|arg| arg.strip_prefix("--limit=")) {
        limits::serve(limit);
        return;
    }
    let names = PARTS.map(|(name, _)| name);
    if let Some(unknown) = args.iter().find(|arg| !names.contains(&arg.as_str())) {
        eprintln!("no such part `{unknown}`; there are: {}", names.join(" "));
        std::process::exit(2);
    }
    let mut report = Report::default();
    for (name, measure) in PARTS {
        let is_named = args.iter().any(|arg| arg == name);
        if is_named || (args.is_empty() && name != SCALE) {
            measure(&mut report);
        }
    }
    println!("{report}");
}

fn seconds() -> Duration {
    let asked = std::env::var("BENCH_SECONDS").ok();
    Duration::from_secs(asked.map_or(5, |text| {
        text.parse().expect("BENCH_SECONDS is a number of seconds")
    }))
}

fn report_progress(what: &str) {
    eprintln!("{what}");
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// How often POST and its limit are measured in alternation: the speed of a shared machine changes within
/// seconds, by as much as the difference to measure.
const TURNS: usize = 3;

/// POST with 1, 32 and 200 connections, compared with a bare handler and Kafka's own
/// producer.
fn post(report: &mut Report) {
    let env = Env::with_partitions(4);
    let api = env.api();
    let limit = limits::start(
        "produce",
        &[
            ("KAFKA_BROKERS", &env.brokers),
            ("TOPIC", &bare_topic(&env)),
        ],
    );
    report_progress("warming up the broker");
    for url in [&api.url(), limit.url()] {
        run(url, 200, Requests::Orders);
    }
    for connections in [1, 32, 200] {
        report_progress(&format!("POST, {connections} connections"));
        let (mut ours, mut bare) = (Load::default(), Load::default());
        for _ in 0..TURNS {
            ours.join(run(&api.url(), connections, Requests::Orders));
            bare.join(run(limit.url(), connections, Requests::Orders));
        }
        let name = format!("POST, {}", plural(connections, "connection"));
        report.add(Row::rates(&name, &ours, "bare axum + rdkafka", &bare));
        if connections == 200 {
            report_progress("Kafka's ProducerPerformance");
            let messages = limits::producer_performance(&env, &bare_topic(&env));
            report.add(Row::against(
                &name,
                &ours,
                "ProducerPerformance, acks=all, 1 kB",
                messages,
            ));
        }
    }
    report.memory("memory of `serve-api` after the POSTs", &api);
}

fn bare_topic(env: &Env) -> String {
    let topic = format!("{}-bare", env.topic());
    if env.kafka().partitions(&topic) == 0 {
        env.kafka().create_topic(&topic, 4);
    }
    topic
}

/// GET of a cached order, compared with the same bytes from handlers that do nothing else.
fn get(report: &mut Report) {
    let env = Env::ready();
    let api = env.api();
    let body = order("cached").to_string();
    api.accepts("cached");
    let bare = limits::start("fixed", &[("BODY", &body)]);
    let tiny = limits::start("tiny", &[("BODY", &body)]);
    report_progress("GET, cached");
    let requests = || Requests::Same("/api/order/cached".into());
    let ours = run(&api.url(), 32, requests());
    report.add(Row::rates(
        "GET cached, 32 connections",
        &ours,
        "axum::serve, fixed body",
        &run(bare.url(), 32, requests()),
    ));
    report.add(Row::rates(
        "GET cached, 32 connections",
        &ours,
        "tiny_http, fixed body",
        &run(tiny.url(), 32, requests()),
    ));
    report.memory("memory of `serve-api` after the GETs", &api);
}

/// GET of orders that are not cached: stored and unknown ones.
fn lookup(report: &mut Report) {
    let env = Env::ready();
    let consumer = env.consumer();
    env.produce(&backlog(LOOKUPS, 1));
    env.wait_until_applied();
    let api = env.serve_api().without_warm_up().start();
    report_progress("GET, not cached");
    let cold = load::sequence(&api.url(), load::paths("backlog-", LOOKUPS), 200);
    report.add(Row::alone(
        "GET not cached, in the database, one client",
        &cold,
    ));
    let unknown = load::sequence(&api.url(), load::paths("unknown-", LOOKUPS), 404);
    report.add(Row::alone("GET unknown uid, one client", &unknown));
    report.memory("memory of `consume` after the lookups", &consumer);
}

/// A backlog into the four tables, compared with COPY of the same kind of orders.
fn apply(report: &mut Report) {
    report_progress("COPY into the four tables");
    let copied = limits::copy_orders_per_second(&Env::ready());
    for partitions in [1, 4] {
        let rate = from_kafka(report, partitions);
        let name = format!("topic → four tables, {}", plural(partitions, "partition"));
        report.add(Row::numbers(
            &name,
            rate,
            "COPY of 30,000 orders, one transaction",
            copied,
        ));
    }
    report.note("nearest peer: Debezium's JDBC sink, 12,000 rows a second into one flat table (another machine's run)");
}

/// The backlog from Kafka into PostgreSQL, in orders a second.
fn from_kafka(report: &mut Report, partitions: usize) -> f64 {
    report_progress(&format!("topic → tables, {partitions} partitions"));
    let count = i32::try_from(partitions).expect("partitions are few");
    let env = Env::with_partitions(count);
    env.produce(&backlog(BACKLOG, count));
    let started = Instant::now();
    let consumer = env.consume().spawn();
    let rate = applied_per_second(&mut env.db(), started);
    let each = BACKLOG as usize / partitions;
    report.memory(
        &format!("memory of `consume` after {partitions} × {each}"),
        &consumer,
    );
    rate
}

/// Orders a second between the first rows and the last.
fn applied_per_second(db: &mut Db, started: Instant) -> f64 {
    let mut first: Option<(Instant, i64)> = None;
    loop {
        let applied = db.applied();
        let now = Instant::now();
        if applied > 0 && first.is_none() {
            first = Some((now, applied));
        }
        if applied >= i64::from(BACKLOG) {
            let (since, before) = first.expect("something was applied");
            return (applied - before) as f64 / now.duration_since(since).as_secs_f64();
        }
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "the backlog is not applied after five minutes"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One order at a time: from the request to the row that another connection sees.
fn visible(report: &mut Report) {
    let env = Env::ready();
    let (api, _consumer) = (env.api(), env.consumer());
    let mut db = env.db();
    let query = db
        .client()
        .prepare("SELECT 1 FROM orders WHERE order_uid = $1")
        .expect("the query is right");
    report_progress("POST → row visible");
    let times = visible_times(&api.url(), |uid| {
        let row = db.client().query_opt(&query, &[&uid]);
        row.expect("the query works").is_some()
    });
    report.add(Row::alone(
        "POST → row visible, one order at a time",
        &times,
    ));
}

/// From the request until `is_there` sees the row.
fn visible_times(api_url: &str, mut is_there: impl FnMut(&str) -> bool) -> Load {
    let mut connection = http::Connection::open(api_url).expect("the API listens");
    let mut times = Load::default();
    for number in 0..300 {
        let uid = format!("visible-{number}");
        let body = order(&uid).to_string();
        let sent = Instant::now();
        let answer = connection.post("/orders", body.as_bytes());
        answer.expect("an answer").expect_status(202);
        while !is_there(&uid) {
            assert!(sent.elapsed() < TIMEOUT, "`{uid}` did not become visible");
        }
        times.add(sent.elapsed());
    }
    times
}

fn run(url: &str, connections: usize, requests: Requests) -> Load {
    load::run(url, connections, requests, seconds())
}

/// Distinct orders, spread evenly over the partitions.
fn backlog(orders: u32, partitions: i32) -> Vec<RawRecord> {
    let one = |number: u32| {
        let uid = format!("backlog-{number:07}");
        let partition = i32::try_from(number).expect("orders are fewer") % partitions;
        RawRecord::order(&uid).to(partition)
    };
    (0..orders).map(one).collect()
}

impl Report {
    /// The highest resident memory of a service so far.
    fn memory(&mut self, name: &str, process: &Process) {
        let peak = process.peak_resident_bytes() as f64 / 1e6;
        self.add(Row::text(
            name,
            &format!("{peak:.0} MB"),
            "target",
            "under 100 MB",
        ));
    }
}
