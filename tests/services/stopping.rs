//! The first signal drains, the second exits.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::audit::audit;
use support::http::Connection;
use support::load_client::Workload;
use support::private::{PrivateKafka, free_port};
use support::{Env, Process, TIMEOUT, eventually};

use super::{Posted, RECOVERY};

const LAST_WORD: &str = "stopped: every order that was answered with 202 is in the log";

#[test]
fn an_api_that_is_stopped_under_load_drains_and_every_202_is_in_the_log() {
    let env = Env::with_partitions(2);
    let port = format!("127.0.0.1:{}", free_port());
    let api = || env.serve_api().env("HTTP_ADDR", &port).start();
    let (mut running, _consumer) = (api(), env.consumer());
    let clients = Workload::new(&port).orders(1000).start(&env, 4);
    for orders in [150, 400, 650] {
        clients.wait_for_each(orders, RECOVERY);
        running.stop_within(Duration::from_secs(10));
        running.wait_for_line(LAST_WORD);
        running = api();
    }
    let answers = clients.finish(RECOVERY * 2);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
}

#[test]
fn idle_connections_do_not_delay_a_stop() {
    let env = Env::ready();
    let mut api = env.api();
    let mut idle: Vec<Connection> = (0..50)
        .map(|_| Connection::open(&api.url()).expect("the API takes connections"))
        .collect();
    for connection in &mut idle[..25] {
        assert_eq!(
            connection.get("/healthz").expect("the API answers").status,
            200
        );
    }
    api.stop_within(Duration::from_secs(7));
}

#[test]
fn while_kafka_is_frozen_one_signal_answers_pending_posts_and_a_second_exits_at_once() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(1);
    let mut patient = env.api();
    let mut hurried = [
        (env.api(), Signal::TERM, 143),
        (env.api(), Signal::INT, 130),
    ];
    let mut posted = Posted::default();
    posted.at_once(&patient, "before", 10);
    kafka.freeze();
    let mut answered = post_unanswered(&patient);
    for (api, signal, code) in &mut hurried {
        let _dropped = post_unanswered(api);
        api.signal(*signal);
        api.wait_for_line("stopping: draining, a second signal ends the process at once");
        let asked = Instant::now();
        api.signal(*signal);
        assert_eq!(api.wait_exit(TIMEOUT).code(), Some(*code));
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "it took {:?}",
            asked.elapsed()
        );
    }

    let asked = Instant::now();
    patient.signal(Signal::INT);
    let answer = answered.receive().expect("what is under way is answered");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["outcome"], "unknown");
    assert_eq!(patient.wait_exit(TIMEOUT).code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(12),
        "it took {:?}",
        asked.elapsed()
    );
    kafka.thaw();
    posted.audit(&env);
}

#[test]
fn a_terminal_that_closes_drains_a_service_and_loses_no_order_under_way() {
    let env = Env::ready();
    let stalls = env
        .serve_api()
        .env("ORDERS_FAILPOINT", "after_ack=stall 2s");
    let (mut api, mut consumer) = (stalls.start(), env.consumer());
    let mut under_way = Connection::open(&api.url()).expect("the API takes connections");
    under_way
        .send(&super::post_bytes("under-way"))
        .expect("the API reads");
    eventually("the order in the log", TIMEOUT, || {
        (env.log().ends(&env.topic())[0] > 0).then_some(())
    });
    // The shell and the kernel send one each.
    for service in [&api, &consumer] {
        service.signal(Signal::HUP);
        service.wait_for_line("stopping: draining, a second signal ends the process at once");
        service.signal(Signal::HUP);
    }
    assert_eq!(under_way.receive().expect("it is answered").status, 202);
    assert_eq!(api.wait_exit(TIMEOUT).code(), Some(0));
    assert_eq!(consumer.wait_exit(TIMEOUT).code(), Some(0));
    api.wait_for_line(LAST_WORD);
}

#[test]
fn a_service_under_nohup_goes_on_when_its_terminal_closes() {
    let env = Env::embedded();
    let mut up = env.orders(&["up"]).wrapped_in(&["nohup"]).start();
    up.signal(Signal::HUP);
    assert_eq!(up.post_order("later").status, 202);
    assert_eq!(up.stop().code(), Some(0));
    let stops = up.lines().into_iter().filter(|it| it.contains("stopping:"));
    assert_eq!(stops.count(), 1);
}

#[test]
fn a_balancer_sees_503_before_clients_are_refused() {
    let delay = Duration::from_secs(3);
    let env = Env::embedded();
    let mut up = env.orders(&["up", "--drain-delay", "3s"]).start();
    let asked = Instant::now();
    up.signal(Signal::TERM);
    let check = up.wait_until_unready("listener");
    assert_eq!(check, "FAIL api listener: stopping");
    // A connection of a client that the balancer still sends here.
    assert_eq!(up.post_order("late").status, 202);
    assert!(asked.elapsed() < delay, "the delay may be over");
    assert_eq!(up.get_order("late").status, 200);
    assert_eq!(up.wait_exit(TIMEOUT).code(), Some(0));
    let took = asked.elapsed();
    assert!(took >= delay, "it stopped after {took:?}");

    // A second signal does not wait for the delay.
    let mut hurried = env.orders(&["up", "--drain-delay", "1h"]).start();
    hurried.signal(Signal::TERM);
    hurried.wait_for_line("stopping: not ready from now on, draining in 3600s");
    hurried.signal(Signal::TERM);
    assert_eq!(hurried.wait_exit(TIMEOUT).code(), Some(143));
}

/// Posts an order that a frozen Kafka will not confirm, and waits until it is under way.
fn post_unanswered(api: &Process) -> Connection {
    let mut connection = Connection::open(&api.url()).expect("the API takes connections");
    eventually("earlier connections to be gone", TIMEOUT, || {
        (super::metric(api, "orders_http_connections") == 1).then_some(())
    });
    connection
        .send(&super::post_bytes("under-way"))
        .expect("the API reads");
    // Requests are accepted in sequence: the earlier one is in progress when this one is answered.
    let later = Connection::open(&api.url()).and_then(|mut later| later.get("/healthz"));
    assert_eq!(later.expect("the API answers").status, 200);
    connection
}
