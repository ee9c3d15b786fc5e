//! The topic is deleted and recreated: everything in the new one is read, and no stored order is replaced
//! by an older version.

use support::audit::audit_answers;
use support::on_both_engines;
use support::orders::order;
use support::{Engines, Env, TIMEOUT, wait_until};

use super::{accepted_ago, assert_stored, orders, versions};

on_both_engines! {
    [
        a_topic_recreated_while_the_consumer_is_stopped_is_read_from_its_start,
    ]
}

const HOUR: u64 = 3600;

/// What is stored after `fill` and `refill`.
const REFILLED: [(&str, usize, u32); 3] = [("old", 100, 5), ("new", 150, 1), ("old", 20, 9)];

/// Writes the first hundred records.
fn fill(env: &Env) {
    env.produce(&accepted_ago(orders("old", 100, 5, 1), 10));
}

/// Recreates the topic and fills it past offset 100, the position: new orders, older versions of stored
/// ones, on both sides of the position, and newer ones.
fn refill(env: &Env) {
    env.recreate_topic();
    let records = [
        accepted_ago(orders("old", 50, 1, 1), HOUR),
        accepted_ago(orders("new", 150, 1, 1), 0),
        accepted_ago(orders("old", 100, 2, 1), HOUR),
        accepted_ago(orders("old", 20, 9, 1), 0),
    ];
    env.produce(&records.concat());
}

fn assert_read_from_its_start(env: &Env) {
    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|320");
    assert_stored(env, &versions(&REFILLED));
    // What the old topic may have lost is recorded.
    let gaps = "SELECT epoch, from_offset, to_offset FROM log_gaps";
    assert_eq!(db.text(gaps), "2|100|");
    assert_eq!(db.count("dead_letters"), 0);
}

#[test]
fn a_topic_recreated_under_running_services_is_read_from_its_start() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    fill(&env);
    env.wait_until_applied();

    refill(&env);
    assert_read_from_its_start(&env);
    // Orders accepted by an API that knew the old topic are in the new one.
    for number in 0..10 {
        let body = order(&format!("posted-{number}")).to_string();
        wait_until("an order to be accepted", TIMEOUT, || {
            let answer = api.post(&body);
            assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
            answer.status == 202
        });
    }
    env.wait_until_applied();
    let all = [&REFILLED[..], &[("posted", 10, 1)]].concat();
    assert_stored(&env, &versions(&all));
    audit_answers(&env, &api.url());
    consumer.wait_ready();
    api.wait_ready();
}

fn a_topic_recreated_while_the_consumer_is_stopped_is_read_from_its_start(engines: &Engines) {
    let env = engines.ready();
    fill(&env);
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    refill(&env);
    let consumer = env.consumer();
    assert_read_from_its_start(&env);
    consumer.wait_ready();
}

#[test]
fn a_topic_recreated_while_the_consumer_is_frozen_is_read_from_its_start() {
    let env = Env::ready();
    let consumer = env.consumer();
    fill(&env);
    env.wait_until_applied();

    // It sees nothing of the change: to its client the topic has only grown.
    consumer.freeze();
    refill(&env);
    consumer.thaw();
    assert_read_from_its_start(&env);
    consumer.wait_ready();
}
