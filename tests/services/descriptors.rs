//! Few or no free descriptors: both services report it, do not spin, and recover.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::audit::audit_offsets;
use support::http::{self, Connection};
use support::kafka::RawRecord;
use support::orders::order;
use support::{Env, Process, TIMEOUT};

use super::RECOVERY;

/// The part of one processor that a service may take while it waits.
pub const IDLE: f64 = 0.3;

fn post(api: &Process, uid: &str) -> u16 {
    let url = format!("{}/orders", api.url());
    http::post(&url, order(uid).to_string()).status
}

fn connect(api: &Process) -> TcpStream {
    TcpStream::connect(api.url().replace("http://", "")).expect("the kernel takes connections")
}

/// From here on the process can open nothing more, not even in the place of what it closes: the
/// lowest numbers are those of its standard streams and its signals.
fn starve(process: &Process) {
    // No lower, since poll(2) is refused a list longer than the limit.
    const LOWEST: u64 = 8;
    process.limit_descriptors(process.first_free_descriptor().min(LOWEST));
}

fn feed(process: &Process) {
    let most = process.descriptor_limits().1;
    process.limit_descriptors(most.expect("there is a hard limit"));
}

#[test]
fn an_api_with_few_descriptors_accepts_what_fits_and_serves_clients() {
    let env = Env::ready();
    let few = env.serve_api().wrapped_in(&["prlimit", "--nofile=128:128"]);
    let api = few.start();
    api.wait_for_line(
        "accepting at most 64 connections at once, not 1000: the descriptor limit is 128",
    );
    let silent: Vec<TcpStream> = (0..300).map(|_| connect(&api)).collect();
    for number in 0..10 {
        let asked = Instant::now();
        assert_eq!(post(&api, &format!("uid-{number}")), 202);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(10), "it took {took:?}");
    }
    assert!(api.descriptors() <= 128);
    api.wait_ready();
    drop(silent);
    api.assert_idle(IDLE);
    assert_eq!(post(&api, "last"), 202);
}

#[test]
fn an_api_without_descriptors_logs_it_does_not_spin_and_recovers() {
    let env = Env::ready();
    let mut api = env.api();
    let mut kept = Connection::open(&api.url()).expect("the API takes connections");
    let mut post_kept = |uid: &str| {
        let body = order(uid).to_string();
        kept.post("/orders", body.as_bytes()).expect("it answers")
    };
    assert_eq!(post_kept("before").status, 202);
    starve(&api);
    let waiting: Vec<TcpStream> = (0..50).map(|_| connect(&api)).collect();
    api.wait_for_line("cannot accept connections, retrying: ");
    api.assert_idle(IDLE);
    // Who is inside is served.
    let answer = post_kept("inside");
    assert_eq!(answer.status, 202, "{}", answer.text());

    let starved = api.mark();
    feed(&api);
    api.wait_for_line_after(starved, "accepting connections again", RECOVERY);
    assert_eq!(post(&api, "after"), 202);
    drop(waiting);
    api.wait_ready_within(RECOVERY);
    assert!(api.is_running());
}

#[test]
fn a_consumer_without_descriptors_logs_it_does_not_spin_and_recovers() {
    let env = Env::ready();
    // Few are enough for a consumer.
    let few = env.consume().wrapped_in(&["prlimit", "--nofile=128:20000"]);
    let mut consumer = few.start();
    let produce = |prefix: &str| {
        let uids = (0..50).map(|number| format!("{prefix}-{number}"));
        let records = uids.map(|uid| RawRecord::new(uid.as_str(), order(&uid).to_string()));
        env.kafka()
            .produce(&env.topic(), &records.collect::<Vec<_>>());
    };
    produce("before");
    env.wait_until_applied();

    let fed = consumer.mark();
    starve(&consumer);
    env.db().run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'orders'",
    );
    produce("starved");
    consumer.wait_for_line_after(fed, "for lack of descriptors", TIMEOUT);
    consumer.assert_idle(IDLE);
    assert_eq!(env.db().count("orders"), 50);

    feed(&consumer);
    env.wait_until_applied_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    audit_offsets(&env);
    let mut db = env.db();
    assert_eq!((db.count("orders"), db.count("dead_letters")), (100, 0));
    assert!(consumer.is_running());
}
