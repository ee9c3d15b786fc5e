//! Kafka freezes or stops while the API runs: every POST is answered correctly, every GET says what it
//! knows.

use std::thread;
use std::time::Duration;

use support::audit::audit_all;
use support::load_client::Workload;
use support::orders::order;
use support::private::PrivateKafka;
use support::{Env, Process, TIMEOUT, wait_until};

use super::{Outcome, Posted, RECOVERY};

/// While Kafka is unavailable an order that is not cached is neither found nor known to be absent.
fn assert_is_unknown(api: &Process, uid: &str) {
    let answer = api.get_order(uid);
    assert!(matches!(answer.status, 202 | 503), "{answer:?}");
}

#[test]
fn a_get_while_the_broker_is_frozen_is_marked_unverified() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    api.accepts("cached");
    kafka.freeze();
    wait_until("a hit marked as unverified", TIMEOUT, || {
        let cached = api.get_order("cached").expect_status(200);
        assert_eq!(cached.json(), order("cached"));
        !cached.is_verified()
    });
    assert_is_unknown(&api, "absent");
    kafka.thaw();
}

#[test]
fn posts_to_a_frozen_kafka_are_answered_correctly_in_time_and_in_bounded_memory() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(2);
    let (mut api, consumer) = (env.api(), env.consumer());
    let mut posted = Posted::default();
    posted.all_accepted(&api, "before", 200);
    let resident = api.resident_bytes();

    kafka.freeze();
    for round in 0..3 {
        posted.at_once(&api, &format!("frozen{round}"), 800);
    }
    assert_eq!(posted.count("frozen", Outcome::Accepted), 0);
    let grown = api.resident_bytes().saturating_sub(resident);
    assert!(grown < 64 << 20, "2,400 orders took {grown} bytes");
    let cached = api.get_order("before-7").expect_status(200);
    assert_eq!(cached.json(), order("before-7"));
    let status = cached.header("cache-status");
    assert_eq!(status, Some("orders; hit; detail=unverified"));
    assert_is_unknown(&api, "absent");

    kafka.thaw();
    api.wait_ready_within(RECOVERY);
    posted.until_accepted(&api, "again");
    posted.all_accepted(&api, "after", 200);
    posted.audit(&env);
    wait_until("verified answers", TIMEOUT, || {
        let cached = api.get_order("before-7");
        cached.header("cache-status") == Some("orders; hit")
    });
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    assert!(api.is_running());
}

#[test]
fn no_accepted_order_is_lost_while_kafka_is_frozen_stopped_and_killed() {
    let mut kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(2);
    let (mut api, mut consumer) = (env.api(), env.consumer());
    let clients = Workload::new(&api.url()).orders(1500).start(&env, 4);
    let wait_for = |orders| clients.wait_for_each(orders, RECOVERY);
    wait_for(200);
    kafka.freeze();
    // Long enough for pending orders to time out.
    let mut posted = Posted::default();
    posted.at_once(&api, "frozen", 20);
    kafka.thaw();
    wait_for(500);
    kafka.stop();
    api.wait_until_unready("log");
    thread::scope(|scope| {
        scope.spawn(|| posted.at_once(&api, "stopped", 20));
    });
    kafka.restart();
    wait_for(800);
    kafka.kill9();
    kafka.restart();
    wait_for(1100);

    audit_all(&env, &clients.finish(RECOVERY * 3), &api);
    posted.audit(&env);
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}

#[test]
fn a_kafka_frozen_repeatedly_keeps_every_order_and_the_sequence_of_its_versions() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(2);
    let (api, consumer) = (env.api(), env.consumer());
    let mut clients = Workload::new(&api.url())
        .invalid_every(40)
        .with_reads(Duration::from_millis(2))
        .start(&env, 4);
    let mut posted = Posted::default();
    for freeze in 0..2 {
        clients.wait_for_more_of_each(50, RECOVERY);
        kafka.freeze();
        // Until the last of these is answered: the freeze outlasts the pending orders.
        let prefix = format!("frozen{freeze}");
        posted.at_once(&api, &prefix, 10);
        assert_eq!(posted.count(&prefix, Outcome::Accepted), 0);
        kafka.thaw();
    }
    clients.wait_for_more_of_each(50, RECOVERY);
    audit_all(&env, &clients.stop(RECOVERY), &api);
    posted.audit(&env);
    assert_eq!(env.db().count("dead_letters"), 0);
    api.assert_bounded();
    consumer.assert_bounded();
}
