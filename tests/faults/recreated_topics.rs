//! The topic is deleted and recreated: everything in the new one is read, and no stored order is replaced
//! by an older version.

use support::audit::audit_answers;
use support::on_both_engines;
use support::orders::order;
use support::{Engines, Env, Log, Process, TIMEOUT, eventually};

use super::{Expected, accepted_ago, assert_stored, expect, orders};

on_both_engines! {
    [
        a_topic_recreated_while_the_consumer_is_stopped_is_read_from_its_start,
    ]
}

const HOUR: u64 = 3600;

/// Fills the topic past offset 100, where the position stood: new orders, older versions of those
/// that are stored, on both sides of the position, and newer ones.
fn refill(log: &Log, topic: &str, expected: &mut Expected) {
    let records = [
        accepted_ago(orders("old", 50, 1, 1), HOUR),
        accepted_ago(orders("new", 150, 1, 1), 0),
        accepted_ago(orders("old", 100, 2, 1), HOUR),
        accepted_ago(orders("old", 20, 9, 1), 0),
    ];
    log.produce(topic, &records.concat());
    expect(expected, "new", 150, 1);
    expect(expected, "old", 20, 9);
}

fn assert_read_from_its_start(env: &Env, expected: &Expected) {
    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|320");
    assert_stored(env, expected);
    assert_eq!(
        db.text("SELECT epoch, from_offset, to_offset FROM log_gaps"),
        "2|100|",
        "what the old topic may have lost is noted"
    );
    assert_eq!(db.count("dead_letters"), 0);
}

/// Orders accepted by an API that knew the old topic are in the new one, are stored and served.
fn assert_goes_on(env: &Env, api: &Process, expected: &mut Expected) {
    for number in 0..10 {
        let body = order(&format!("posted-{number}")).to_string();
        eventually("an order to be accepted", TIMEOUT, || {
            let answer = api.post(&body);
            assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
            (answer.status == 202).then_some(())
        });
    }
    expect(expected, "posted", 10, 1);
    env.wait_until_applied();
    assert_stored(env, expected);
    audit_answers(env, &api.url());
}

#[test]
fn a_topic_recreated_under_running_services_is_read_from_its_start() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    let (log, mut expected) = (env.log(), Expected::new());
    log.produce(&env.topic(), &accepted_ago(orders("old", 100, 5, 1), 10));
    expect(&mut expected, "old", 100, 5);
    env.wait_until_applied();

    env.recreate_topic();
    refill(&log, &env.topic(), &mut expected);
    assert_read_from_its_start(&env, &expected);
    assert_goes_on(&env, &api, &mut expected);
    consumer.wait_ready();
    api.wait_ready();
}

fn a_topic_recreated_while_the_consumer_is_stopped_is_read_from_its_start(engines: &Engines) {
    let env = engines.ready();
    let (log, mut expected) = (env.log(), Expected::new());
    log.produce(&env.topic(), &accepted_ago(orders("old", 100, 5, 1), 10));
    expect(&mut expected, "old", 100, 5);
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    env.recreate_topic();
    refill(&log, &env.topic(), &mut expected);
    let consumer = env.consumer();
    assert_read_from_its_start(&env, &expected);
    consumer.wait_ready();
}

#[test]
fn a_topic_recreated_while_the_consumer_is_frozen_is_read_from_its_start() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (log, mut expected) = (env.log(), Expected::new());
    log.produce(&env.topic(), &accepted_ago(orders("old", 100, 5, 1), 10));
    expect(&mut expected, "old", 100, 5);
    env.wait_until_applied();

    // It sees nothing of the change: to its client the topic has simply grown.
    consumer.freeze();
    env.recreate_topic();
    refill(&log, &env.topic(), &mut expected);
    consumer.thaw();
    assert_read_from_its_start(&env, &expected);
    consumer.wait_ready();
}
