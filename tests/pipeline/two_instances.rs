//! Two API instances and one consumer: both instances answer correctly.

use std::time::Duration;

use support::kafka::RawRecord;
use support::orders::order_version;
use support::{Env, Process, TIMEOUT, wait_until};

/// Within this time one instance follows what another accepted, whatever else is slow.
const FOLLOWED: Duration = Duration::from_secs(1);

#[test]
fn the_reply_reaches_the_instance_that_requested_it() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let uids: Vec<String> = (0..10)
        .map(|number| format!("requested-{number}"))
        .collect();
    let records = uids.iter().map(|uid| RawRecord::order(uid));
    env.produce(&records.collect::<Vec<_>>());
    env.wait_until_applied();

    let first = env.serve_api().without_warm_up().start();
    let second = env.serve_api().without_warm_up().start();
    for (number, uid) in uids.iter().enumerate() {
        let mut instances = [&first, &second];
        instances.rotate_left(number % 2);
        for instance in instances {
            instance.get_order(uid).expect_status(200);
        }
    }
}

#[test]
fn a_version_posted_to_one_instance_is_served_by_the_other() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    assert_newer_version_is_served(&first, &second, "calm");
}

#[test]
fn a_version_posted_to_one_instance_is_served_by_the_other_behind_a_backlog() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    consumer.freeze();
    assert_newer_version_is_served(&first, &second, "behind");
}

/// Version 1 is cached at both; version 2 is returned by the first at once, by the second within
/// `FOLLOWED`, and version 1 never again.
fn assert_newer_version_is_served(first: &Process, second: &Process, uid: &str) {
    first.accepts(uid);
    wait_until("version 1 at the other", TIMEOUT, || {
        second.get_order(uid).status == 200
    });

    let newer = order_version(uid, 2);
    first.post(newer.to_string()).expect_status(202);
    assert_eq!(first.get_order(uid).json(), newer);
    wait_until("version 2 at the other", FOLLOWED, || {
        second.get_order(uid).json() == newer
    });
    for _ in 0..20 {
        assert_eq!(second.get_order(uid).json(), newer);
    }
}

#[test]
fn an_accepted_order_is_never_404_on_any_instance() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let (first, second) = (env.api(), env.api());
    for number in 0..200 {
        let uid = format!("accepted-{number}");
        first.accepts(&uid);
        let answer = second.get_order(&uid);
        assert!(matches!(answer.status, 200 | 202), "{uid}: {answer:?}");
        first.get_order(&uid).expect_status(200);
    }
}

#[test]
fn an_accepted_order_is_never_404_while_nothing_is_stored() {
    let env = Env::ready();
    let consumer = env.consumer();
    let first = env.api();
    consumer.freeze();
    for number in 0..20 {
        first.accepts(&format!("waiting-{number}"));
    }
    // Started after them, so that it follows none of them; the store has none of them.
    let late = env.serve_api().env("LOOKUP_WAIT_MS", "250").start();
    for number in 0..20 {
        let uid = format!("waiting-{number}");
        late.get_order(&uid).expect_status(202);
    }
    consumer.thaw();
    for number in 0..20 {
        wait_until("the order", TIMEOUT, || {
            let answer = late.get_order(&format!("waiting-{number}"));
            assert!(matches!(answer.status, 200 | 202), "{answer:?}");
            answer.status == 200
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
        second.get_order(&uid).expect_status(404);
        first.get_order(&uid).expect_status(404);
        first.accepts(&uid);
        first.get_order(&uid).expect_status(200);
        wait_until("the order at the other", FOLLOWED, || {
            second.get_order(&uid).status == 200
        });
    }
}
