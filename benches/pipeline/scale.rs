//! A million orders with uids in no order, on both engines: what grows with the number of orders, and
//! the time of the operators' commands. Takes some minutes, so it runs only when it is asked for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use support::bulk::{created, uid};
use support::kafka::RawRecord;
use support::orders::order;
use support::{Db, Engines, Env, Process};

use crate::load::{self, thousands};
use crate::report::{Report, Row};
use crate::report_progress;

/// How many records are produced before more are made, so that few are in memory.
const CHUNK: u32 = 10_000;

/// GETs, each of another order.
const GETS: u32 = 1000;

/// How long the backlog may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The commands of operators that read the store, the log or both.
const COMMANDS: [&[&str]; 3] = [
    &["migrate", "--status"],
    &["create-topics", "--check"],
    &["export", "--partial", "--to", "partial.ndjson"],
];

/// BENCH_ORDERS, or a million.
fn orders() -> u32 {
    let asked = std::env::var("BENCH_ORDERS").ok();
    let orders = asked.map_or(1_000_000, |text| {
        text.parse().expect("BENCH_ORDERS is a number of orders")
    });
    assert!(orders >= 20 * CHUNK, "BENCH_ORDERS is too small a number");
    orders
}

/// Every measurement, on one pair of engines after the other.
pub fn run(report: &mut Report) {
    for (name, engines) in [
        ("Kafka, PostgreSQL", Engines::Servers),
        ("embedded", Engines::Embedded),
    ] {
        let env = engines.with_partitions(engines.select(4, 1));
        Scale {
            name,
            env,
            orders: orders(),
        }
        .run(report);
    }
}

struct Scale {
    name: &'static str,
    env: Env,
    orders: u32,
}

impl Scale {
    fn run(&self, report: &mut Report) {
        let consumer = self.apply(report);
        // At once: the server may not have collected statistics yet.
        consumer.wait_ready();
        self.cold_gets(report);
        self.memory(
            report,
            "`consume` after the lookups",
            consumer.peak_resident_bytes(),
        );
        self.warm_up(report);
        self.export(report);
        self.verify(report);
        self.commands(report);
    }

    /// The backlog into the tables. The consumer runs on.
    fn apply(&self, report: &mut Report) -> Process {
        let Scale { env, orders, .. } = self;
        report_progress(&format!("{}: producing {orders} orders", self.name));
        let numbers: Vec<u32> = (0..*orders).collect();
        for chunk in numbers.chunks(CHUNK as usize) {
            let records: Vec<RawRecord> = chunk.iter().map(|number| record(*number)).collect();
            env.log().produce(&env.topic(), &records);
        }
        report_progress(&format!("{}: topic → tables", self.name));
        let consumer = env.consume().spawn();
        let curve = curve(&mut env.db(), i64::from(*orders));
        let window = i64::from(*orders) / 20;
        let orders = i64::from(*orders);
        for from in [0, (orders - window) / 2, orders - window] {
            let rate = rate(&curve, from, from + window);
            let work = format!("applying, after {}", thousands(from as f64));
            self.row(report, &work, &format!("{} /s", thousands(rate)), "-");
        }
        self.memory(
            report,
            "`consume` after the backlog",
            consumer.peak_resident_bytes(),
        );
        consumer
    }

    fn cold_gets(&self, report: &mut Report) {
        report_progress(&format!("{}: GET, not cached", self.name));
        let api = self.env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
        let step = self.orders / GETS;
        let paths = (0..GETS).map(|number| format!("/api/order/{}", uid(number * step)));
        let cold = load::sequence(&api.url(), paths.collect(), 200);
        let work = format!("{}: GET not cached, one client", self.name);
        report.add(Row::alone(&work, &cold));
    }

    fn warm_up(&self, report: &mut Report) {
        report_progress(&format!("{}: warm-up", self.name));
        let api = self.env.serve_api().env("CACHE_LOAD_LIMIT", "10000");
        let api = api.start();
        let line = api.wait_for_line("the cache was warmed up with 10000 orders in ");
        let (_, took) = line.rsplit_once(" in ").expect("the line ends with a time");
        self.row(report, "warm-up with 10,000 orders", took, "under 500 ms");
        self.memory(report, "`serve-api` after it", api.peak_resident_bytes());
    }

    fn export(&self, report: &mut Report) {
        report_progress(&format!("{}: export", self.name));
        let file = self.env.path().join("orders.ndjson");
        let began = Instant::now();
        let mut export = self.env.orders(&["export", "--to"]).arg(&file).spawn();
        let (output, peak) = export.finished_with_peak(PATIENCE);
        let took = began.elapsed();
        output.succeeds();
        assert_eq!(lines(&file), self.orders, "an export has every order");
        fs::remove_file(&file).expect("it is there");
        let rate = f64::from(self.orders) / took.as_secs_f64();
        let measured = format!("{} /s, {:.1} s", thousands(rate), took.as_secs_f64());
        self.row(report, "export", &measured, "50,000 /s");
        self.memory(report, "`export`", peak);
    }

    fn verify(&self, report: &mut Report) {
        report_progress(&format!("{}: verify", self.name));
        let began = Instant::now();
        let mut verify = self.env.orders(&["verify"]).spawn();
        let (output, peak) = verify.finished_with_peak(PATIENCE);
        let took = began.elapsed().as_secs_f64();
        output.succeeds();
        let rate = f64::from(self.orders) / took;
        let measured = format!("{} /s, {took:.1} s", thousands(rate));
        self.row(report, "verify", &measured, "100,000 /s");
        self.memory(report, "`verify`", peak);
    }

    fn commands(&self, report: &mut Report) {
        for args in COMMANDS {
            let command = args.join(" ");
            report_progress(&format!("{}: orders {command}", self.name));
            let began = Instant::now();
            let mut process = self.env.orders(args).spawn();
            let (output, _) = process.finished_with_peak(PATIENCE);
            output.succeeds();
            let took = format!("{} ms", began.elapsed().as_millis());
            self.row(report, &format!("`orders {command}`"), &took, "-");
        }
    }

    fn row(&self, report: &mut Report, work: &str, measured: &str, target: &str) {
        let work = format!("{}: {work}", self.name);
        report.add(Row::text(&work, measured, "target", target));
    }

    fn memory(&self, report: &mut Report, of: &str, peak: u64) {
        let peak = format!("{:.0} MB", peak as f64 / 1e6);
        self.row(report, &format!("memory of {of}"), &peak, "under 100 MB");
    }
}

/// One order as its record, created a second after the one before.
fn record(number: u32) -> RawRecord {
    let uid = uid(number);
    let mut order = order(&uid);
    order["date_created"] = created(number).into();
    RawRecord::new(uid.as_str(), order.to_string())
}

/// How many records were applied at which time, until all are.
fn curve(db: &mut Db, all: i64) -> Vec<(Instant, i64)> {
    let began = Instant::now();
    let mut curve: Vec<(Instant, i64)> = Vec::new();
    loop {
        let applied = db.applied();
        if curve.last().is_none_or(|(_, before)| *before < applied) {
            curve.push((Instant::now(), applied));
        }
        if applied >= all {
            return curve;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{applied} of {all} records are applied after {PATIENCE:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Orders a second while so many were applied.
fn rate(curve: &[(Instant, i64)], from: i64, to: i64) -> f64 {
    // The first one is that of an empty table: the consumer was starting.
    let reached = |count: i64| {
        let mut later = curve.iter().filter(|(_, applied)| *applied > 0);
        later.find(|(_, applied)| *applied >= count)
    };
    let (from, to) = reached(from).zip(reached(to)).expect("all were applied");
    (to.1 - from.1) as f64 / to.0.duration_since(from.0).as_secs_f64()
}

fn lines(file: &Path) -> u32 {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(file).expect("it was written"));
    let (mut lines, mut line) = (0, Vec::new());
    while reader.read_until(b'\n', &mut line).expect("it can be read") > 0 {
        lines += 1;
        line.clear();
    }
    lines
}
