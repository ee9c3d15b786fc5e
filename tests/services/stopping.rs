//! The first signal drains, the second exits.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::audit::audit;
use support::http::Connection;
use support::load_client::Workload;
use support::private::{PrivateKafka, free_address};
use support::{Env, Process, TIMEOUT, returns_within, wait_until};

use super::{Posted, RECOVERY};

const LAST_LINE: &str = "stopped: every order that was answered with 202 is in the log";

#[test]
fn an_api_that_is_stopped_under_load_drains_and_every_202_is_in_the_log() {
    let env = Env::with_partitions(2);
    let port = free_address();
    let api = || env.serve_api().http_addr(&port).start();
    let (mut running, _consumer) = (api(), env.consumer());
    let clients = Workload::new(&port).orders(1000).start(&env, 4);
    for orders in [150, 400, 650] {
        clients.wait_for_each(orders, RECOVERY);
        running.stop_within(Duration::from_secs(10));
        running.wait_for_line(LAST_LINE);
        running = api();
    }
    let answers = clients.finish(RECOVERY * 2);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
}

#[test]
fn both_services_drain_under_load_and_lose_nothing() {
    let env = Env::with_partitions(2);
    let port = free_address();
    let mut api = env.serve_api().http_addr(&port).start();
    let mut consumer = env.consumer();
    let clients = Workload::new(&port).orders(1000).start(&env, 4);
    clients.wait_for_each(200, TIMEOUT);
    returns_within(Duration::from_secs(10), || {
        consumer.signal(Signal::TERM);
        api.signal(Signal::TERM);
        assert_eq!(api.wait_exit(TIMEOUT).code(), Some(0));
        assert_eq!(consumer.wait_exit(TIMEOUT).code(), Some(0));
    });

    let _api = env.serve_api().http_addr(&port).start();
    let _consumer = env.consumer();
    let answers = clients.finish(TIMEOUT * 2);
    env.wait_until_applied();
    audit(&env, &answers);
}

#[test]
fn an_idle_service_stops_at_once() {
    let env = Env::ready();
    for mut service in [env.api(), env.consumer()] {
        service.stop_within(Duration::from_secs(3));
    }
}

#[test]
fn idle_connections_do_not_delay_a_stop() {
    let env = Env::ready();
    let mut api = env.api();
    let mut idle: Vec<Connection> = (0..50)
        .map(|_| Connection::open(&api.url()).expect("the API accepts connections"))
        .collect();
    for connection in &mut idle[..25] {
        let answer = connection.get("/healthz").expect("the API answers");
        answer.expect_status(200);
    }
    api.stop_within(Duration::from_secs(7));
}

#[test]
fn while_kafka_is_frozen_one_signal_answers_pending_posts_and_a_second_exits_at_once() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(1);
    let mut draining = env.api();
    let mut signalled_twice = [
        (env.api(), Signal::TERM, 143),
        (env.api(), Signal::INT, 130),
    ];
    let mut posted = Posted::default();
    posted.at_once(&draining, "before", 10);
    kafka.freeze();
    let mut pending = post_pending(&draining);
    for (api, signal, code) in &mut signalled_twice {
        let _dropped = post_pending(api);
        api.signal(*signal);
        api.wait_for_line("stopping: draining, a second signal ends the process at once");
        returns_within(Duration::from_secs(1), || {
            api.signal(*signal);
            assert_eq!(api.wait_exit(TIMEOUT).code(), Some(*code));
        });
    }

    returns_within(Duration::from_secs(12), || {
        draining.signal(Signal::INT);
        let answer = pending.receive().expect("a pending request is answered");
        assert_eq!(answer.expect_status(503).json()["outcome"], "unknown");
        assert_eq!(draining.wait_exit(TIMEOUT).code(), Some(0));
    });
    kafka.thaw();
    posted.audit(&env);
}

#[test]
fn a_terminal_that_closes_drains_a_service_and_loses_no_pending_order() {
    let env = Env::ready();
    let stalls = env
        .serve_api()
        .env("ORDERS_FAILPOINT", "after_ack=stall 2s");
    // The tests themselves may run under `nohup`.
    let not_ignored = ["env", "--default-signal=HUP"];
    let mut api = stalls.wrapped_in(&not_ignored).start();
    let mut consumer = env.consume().wrapped_in(&not_ignored).start();
    let mut pending = Connection::open(&api.url()).expect("the API accepts connections");
    let sent = pending.send(&super::post_bytes("pending"));
    sent.expect("the API reads");
    wait_until("the order in the log", TIMEOUT, || {
        env.log().ends(&env.topic())[0] > 0
    });
    // The shell and the kernel send one each.
    for service in [&api, &consumer] {
        service.signal(Signal::HUP);
        service.wait_for_line("stopping: draining, a second signal ends the process at once");
        service.signal(Signal::HUP);
    }
    pending.receive().expect("an answer").expect_status(202);
    assert_eq!(api.wait_exit(TIMEOUT).code(), Some(0));
    assert_eq!(consumer.wait_exit(TIMEOUT).code(), Some(0));
    api.wait_for_line(LAST_LINE);
}

#[test]
fn a_service_under_nohup_continues_when_its_terminal_closes() {
    let env = Env::embedded();
    let mut up = env.orders(&["up"]).wrapped_in(&["nohup"]).start();
    up.signal(Signal::HUP);
    up.accepts("later");
    assert_eq!(up.stop().code(), Some(0));
    let stops = up.lines().into_iter().filter(|it| it.contains("stopping:"));
    assert_eq!(stops.count(), 1);
}

#[test]
fn a_balancer_sees_503_before_clients_are_refused() {
    let delay = Duration::from_secs(3);
    let env = Env::embedded();
    let mut up = env.orders(&["up", "--drain-delay", "3s"]).start();
    let signalled = Instant::now();
    up.signal(Signal::TERM);
    let check = up.wait_until_unready("listener");
    assert_eq!(check, "FAIL api listener: stopping");
    // A connection of a client that the balancer still sends here.
    up.accepts("late");
    assert!(signalled.elapsed() < delay, "the delay may be over");
    up.get_order("late").expect_status(200);
    assert_eq!(up.wait_exit(TIMEOUT).code(), Some(0));
    let took = signalled.elapsed();
    assert!(took >= delay, "it stopped after {took:?}");

    // A second signal does not wait for the delay.
    let mut up = env.orders(&["up", "--drain-delay", "1h"]).start();
    up.signal(Signal::TERM);
    up.wait_for_line("stopping: not ready from now on, draining in 3600s");
    up.signal(Signal::TERM);
    assert_eq!(up.wait_exit(TIMEOUT).code(), Some(143));
}

/// Posts an order that a frozen Kafka does not acknowledge, and waits until it is pending.
fn post_pending(api: &Process) -> Connection {
    let mut connection = Connection::open(&api.url()).expect("the API accepts connections");
    wait_until("earlier connections to be closed", TIMEOUT, || {
        api.metric("orders_http_connections") == 1
    });
    connection
        .send(&super::post_bytes("pending"))
        .expect("the API reads");
    // Requests are accepted in sequence: the earlier one is in progress when this one is answered.
    let later = Connection::open(&api.url()).and_then(|mut later| later.get("/healthz"));
    assert_eq!(later.expect("the API answers").status, 200);
    connection
}
