//! Few or no free descriptors: both services report it, do not spin, and recover.

use std::net::TcpStream;
use std::time::Duration;

use support::audit::audit_offsets;
use support::http::Connection;
use support::kafka::RawRecord;
use support::orders::order;
use support::{Env, Process, TIMEOUT, returns_within};

use super::RECOVERY;

/// The part of one processor that a service may take while it waits.
pub const IDLE: f64 = 0.3;

fn connect(api: &Process) -> TcpStream {
    TcpStream::connect(api.authority()).expect("the kernel accepts connections")
}

/// From here on the process can open nothing, not even in place of what it closes: the lowest numbers
/// are those of its standard streams and its signals.
pub fn take_descriptors(process: &Process) {
    // No lower, since poll(2) is refused a list longer than the limit.
    const LOWEST: u64 = 8;
    process.limit_descriptors(process.first_free_descriptor().min(LOWEST));
}

/// Lifts the limit as far as the hard limit allows.
pub fn return_descriptors(process: &Process) {
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
        returns_within(Duration::from_secs(10), || {
            api.accepts(&format!("uid-{number}"));
        });
    }
    assert!(api.descriptors() <= 128);
    api.wait_ready();
    drop(silent);
    api.assert_idle(IDLE);
    api.accepts("last");
}

#[test]
fn an_api_without_descriptors_logs_it_does_not_spin_and_recovers() {
    let env = Env::ready();
    let mut api = env.api();
    let mut kept = Connection::open(&api.url()).expect("the API accepts connections");
    let mut post_kept = |uid: &str| {
        let body = order(uid).to_string();
        kept.post("/orders", body.as_bytes()).expect("an answer")
    };
    post_kept("before").expect_status(202);
    take_descriptors(&api);
    let waiting: Vec<TcpStream> = (0..50).map(|_| connect(&api)).collect();
    api.wait_for_line("cannot accept connections, retrying: ");
    api.assert_idle(IDLE);
    // Open connections are served.
    post_kept("meanwhile").expect_status(202);

    let mark = api.mark();
    return_descriptors(&api);
    api.wait_for_line_after(mark, "accepting connections again", RECOVERY);
    api.accepts("after");
    drop(waiting);
    api.wait_ready_within(RECOVERY);
    assert!(api.is_running());
}

#[test]
fn a_consumer_without_descriptors_logs_it_does_not_spin_and_recovers() {
    let env = Env::ready();
    let few = env.consume().wrapped_in(&["prlimit", "--nofile=128:20000"]);
    let mut consumer = few.start();
    let produce = |prefix: &str| {
        let order = |number| RawRecord::order(&format!("{prefix}-{number}"));
        env.produce(&(0..50).map(order).collect::<Vec<_>>());
    };
    produce("before");
    env.wait_until_applied();

    let mark = consumer.mark();
    take_descriptors(&consumer);
    env.db().terminate_sessions();
    produce("meanwhile");
    consumer.wait_for_line_after(mark, "Too many open files", TIMEOUT);
    consumer.assert_idle(IDLE);
    assert_eq!(env.db().count("orders"), 50);

    return_descriptors(&consumer);
    env.wait_until_applied_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    audit_offsets(&env);
    let mut db = env.db();
    assert_eq!((db.count("orders"), db.count("dead_letters")), (100, 0));
    assert!(consumer.is_running());
}
