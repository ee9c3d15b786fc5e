//! Kafka freezes or stops under a running API: every POST is answered correctly.

use std::thread;

use support::audit::{audit, audit_answers};
use support::load_client::Workload;
use support::orders::order;
use support::private::PrivateKafka;
use support::{Env, TIMEOUT, eventually};

use super::{Outcome, Posted, RECOVERY};

#[test]
fn posts_to_a_frozen_kafka_are_answered_correctly_in_time_and_in_bounded_memory() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(2);
    let (mut api, consumer) = (env.api(), env.consumer());
    let mut posted = Posted::default();
    posted.at_once(&api, "before", 200);
    assert_eq!(posted.count("before", Outcome::Accepted), 200);
    let resident = api.resident_bytes();

    kafka.freeze();
    for round in 0..3 {
        posted.at_once(&api, &format!("frozen{round}"), 800);
    }
    assert_eq!(posted.count("frozen", Outcome::Accepted), 0);
    let grown = api.resident_bytes().saturating_sub(resident);
    assert!(grown < 64 << 20, "2,400 orders took {grown} bytes");
    let cached = api.get_order("before-7");
    assert_eq!((cached.status, cached.json()), (200, order("before-7")));
    assert_eq!(
        cached.header("cache-status"),
        Some("orders; hit; detail=unverified")
    );
    let unknown = api.get_order("absent");
    assert!(
        matches!(unknown.status, 202 | 503),
        "nobody can know: {}",
        unknown.text()
    );

    kafka.thaw();
    api.wait_ready_within(RECOVERY);
    eventually("orders to be accepted again", RECOVERY, || {
        let uid = format!("thawing-{}", posted.0.len());
        posted.at_once(&api, &uid, 1);
        (posted.0[&format!("{uid}-0")] == Outcome::Accepted).then_some(())
    });
    posted.at_once(&api, "after", 200);
    assert_eq!(posted.count("after", Outcome::Accepted), 200);
    posted.audit(&env);
    eventually("verified answers", TIMEOUT, || {
        let cached = api.get_order("before-7");
        (cached.header("cache-status") == Some("orders; hit")).then_some(())
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

    let answers = clients.finish(RECOVERY * 3);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
    audit_answers(&env, &api.url());
    posted.audit(&env);
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}
