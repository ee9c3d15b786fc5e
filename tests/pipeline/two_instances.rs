//! Two API instances and one consumer: both instances answer correctly.

use std::time::Duration;

use support::kafka::RawRecord;
use support::orders::{order, order_version};
use support::{Env, Process, TIMEOUT, eventually};

/// Within this time one instance follows what another accepted, whatever else is slow.
const FOLLOWED: Duration = Duration::from_secs(1);

fn post(api: &Process, body: &serde_json::Value) {
    let answer = api.post(body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[test]
fn the_reply_reaches_the_instance_that_requested_it() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let uids: Vec<String> = (0..10).map(|number| format!("asked-{number}")).collect();
    let records: Vec<RawRecord> = uids
        .iter()
        .map(|uid| RawRecord::new(uid.as_str(), order(uid).to_string()))
        .collect();
    env.kafka().produce(&env.topic(), &records);
    env.wait_until_applied();

    let first = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    let second = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    for (number, uid) in uids.iter().enumerate() {
        let (asked, other) = if number % 2 == 0 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        assert_eq!(
            asked.get_order(uid).status,
            200,
            "{uid} at the one that asks first"
        );
        assert_eq!(other.get_order(uid).status, 200, "{uid} at the other");
    }
}

#[test]
fn a_version_posted_to_one_instance_is_served_by_the_other() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    new_version_is_seen(&first, &second, "calm");
}

#[test]
fn a_version_posted_to_one_instance_is_served_by_the_other_behind_a_backlog() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    consumer.freeze();
    new_version_is_seen(&first, &second, "behind");
}

/// Version 1 is cached at both; version 2 shows at the client at once, at the other soon, and
/// version 1 never comes back.
fn new_version_is_seen(first: &Process, second: &Process, uid: &str) {
    post(first, &order_version(uid, 1));
    eventually("version 1 at the other", TIMEOUT, || {
        (second.get_order(uid).status == 200).then_some(())
    });

    post(first, &order_version(uid, 2));
    assert_eq!(
        first.get_order(uid).json(),
        order_version(uid, 2),
        "at the one that accepted it"
    );
    eventually("version 2 at the other", FOLLOWED, || {
        (second.get_order(uid).json() == order_version(uid, 2)).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(second.get_order(uid).json(), order_version(uid, 2));
    }
}

#[test]
fn an_accepted_order_is_never_404_on_any_instance() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    for number in 0..200 {
        let uid = format!("accepted-{number}");
        post(&first, &order(&uid));
        let answer = second.get_order(&uid);
        assert!(
            matches!(answer.status, 200 | 202),
            "{uid}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(first.get_order(&uid).status, 200);
    }
}

#[test]
fn an_accepted_order_is_never_404_while_nothing_is_stored() {
    let env = Env::ready();
    let consumer = env.consumer();
    let first = env.api();
    consumer.freeze();
    for number in 0..20 {
        post(&first, &order(&format!("waiting-{number}")));
    }
    // Started after them, so that it follows none of them; the store has none of them.
    let late = env.serve_api().env("LOOKUP_WAIT_MS", "50").start();
    for number in 0..20 {
        let answer = late.get_order(&format!("waiting-{number}"));
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    consumer.thaw();
    for number in 0..20 {
        eventually("the order", TIMEOUT, || {
            let answer = late.get_order(&format!("waiting-{number}"));
            assert!(
                matches!(answer.status, 200 | 202),
                "{} {}",
                answer.status,
                answer.text()
            );
            (answer.status == 200).then_some(())
        });
    }
}

#[test]
fn an_unknown_order_is_found_after_it_was_posted_to_another_instance() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    for number in 0..10 {
        let uid = format!("late-{number}");
        assert_eq!(second.get_order(&uid).status, 404);
        assert_eq!(first.get_order(&uid).status, 404);
        post(&first, &order(&uid));
        assert_eq!(
            first.get_order(&uid).status,
            200,
            "at the one that accepted it, at once"
        );
        eventually("the order at the other", FOLLOWED, || {
            (second.get_order(&uid).status == 200).then_some(())
        });
    }
}
