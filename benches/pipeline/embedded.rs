//! The embedded engines: orders per second, compared with the cost of an fsync on the same disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use support::orders::order;
use support::{Env, http};

use crate::load::{self, Load, Requests};
use crate::report::{Report, Row};
use crate::{
    BACKLOG, LOOKUPS, applied_per_second, backlog, from_kafka, plural, report_progress, run,
    visible_times,
};

/// All benchmarks of the embedded engines; `apply` is compared with Kafka and PostgreSQL.
pub fn all(report: &mut Report) {
    post(report);
    let postgres = from_kafka(report, 1);
    apply(report, postgres);
    lookup(report);
    visible(report);
}

/// POST with 1, 32 and 200 connections, on the embedded log.
fn post(report: &mut Report) {
    let env = Env::embedded().prepared(1);
    report_progress("fsync");
    let fsync = fsyncs(env.path());
    report.add(Row::alone("one write of 4 kB with its fsync", &fsync));
    let api = env.api();
    run(&api.url(), 200, Requests::Orders);
    for connections in [1, 32, 200] {
        report_progress(&format!("embedded: POST, {connections} connections"));
        let ours = run(&api.url(), connections, Requests::Orders);
        let name = format!("embedded: POST, {}", plural(connections, "connection"));
        report.add(Row::rates(
            &name,
            &ours,
            "write + fsync, one after the other",
            &fsync,
        ));
    }
    report.memory("embedded: memory of `serve-api` after the POSTs", &api);
}

/// A backlog into the four tables, compared with Kafka and PostgreSQL in the same run.
fn apply(report: &mut Report, postgres_per_second: f64) {
    let env = Env::embedded().prepared(1);
    env.produce(&backlog(BACKLOG, 1));
    report_progress("embedded: log → tables");
    let started = Instant::now();
    let consumer = env.consume().spawn();
    let rate = applied_per_second(&mut env.db(), started);
    report.add(Row::numbers(
        "embedded: log → four tables",
        rate,
        "ours from Kafka into PostgreSQL, 1 partition",
        postgres_per_second,
    ));
    report.memory("embedded: memory of `consume` after the backlog", &consumer);
}

/// GET of orders that are not cached, everything in one process.
fn lookup(report: &mut Report) {
    let env = Env::embedded().prepared(1);
    env.produce(&backlog(LOOKUPS, 1));
    let up = env.orders(&["up"]).without_warm_up().start();
    env.wait_until_applied();
    report_progress("embedded: GET, not cached");
    // Records before the start of the follower.
    let cold = load::sequence(&up.url(), load::paths("backlog-", LOOKUPS), 200);
    report.add(Row::alone(
        "embedded: GET not cached, one client, `up`",
        &cold,
    ));
    let unknown = load::sequence(&up.url(), load::paths("unknown-", LOOKUPS), 404);
    report.add(Row::alone(
        "embedded: GET unknown uid, one client, `up`",
        &unknown,
    ));
}

/// One order at a time, and the time until everything is ready.
fn visible(report: &mut Report) {
    let env = Env::embedded().prepared(1);
    report_progress("embedded: start");
    let mut starts = Load::default();
    for _ in 0..5 {
        let began = Instant::now();
        let up = env.up();
        starts.add(began.elapsed());
        drop(up);
    }
    report.add(Row::alone(
        "embedded: `up`, from its start to ready",
        &starts,
    ));
    let up = env.up();
    report_progress("embedded: POST → row visible");
    let mut db = env.db();
    let times = visible_times(&up.url(), |uid| {
        db.number(&format!(
            "SELECT count(*) FROM orders WHERE order_uid = '{uid}'"
        )) == 1
    });
    report.add(Row::alone(
        "embedded: POST → row visible, one order at a time, `up`",
        &times,
    ));
    let answer = http::get(&format!("{}/api/order/visible-0", up.url()));
    assert_eq!(answer.json(), order("visible-0"));
}

/// Appends and syncs as the log does, for a second.
fn fsyncs(folder: &Path) -> Load {
    let mut file = File::create(folder.join("fsync")).expect("the folder is writable");
    let page = [7; 4096];
    let (began, mut times) = (Instant::now(), Load::default());
    while began.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        file.write_all(&page).expect("the disk has room");
        file.sync_data().expect("the disk works");
        times.add(start.elapsed());
    }
    times
}
