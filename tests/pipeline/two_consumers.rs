//! Two consumers of one group share the partitions.

use support::kafka::RawRecord;
use support::{Env, TIMEOUT, wait_until};

#[test]
fn partitions_are_shared_between_two_consumers() {
    let env = Env::with_partitions(4);
    let first = env.consumer();
    let second = env.consumer();
    second.wait_for_line("assigned partitions");
    let records: Vec<RawRecord> = (0..400)
        .map(|number| {
            let uid = format!("shared-{number}");
            RawRecord::order(&uid).to(number % 4)
        })
        .collect();
    env.produce(&records);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 400);
    for consumer in [first, second] {
        consumer.wait_for_line("processed ");
    }
}

#[test]
fn lookups_are_answered_after_the_answering_consumer_died() {
    // One partition per topic: one of the two consumers has none until the other is killed.
    let env = Env::ready();
    let mut first = env.consumer();
    let mut second = env.consumer();
    let api = env.api();
    let answered = |uid: &str| {
        wait_until("a lookup to be answered", TIMEOUT, || {
            api.get_order(uid).status == 404
        });
    };
    answered("absent-1");
    // Kill the one that answered; the other takes over.
    first.kill9();
    answered("absent-2");
    let _third = env.consumer();
    answered("absent-3");
    second.kill9();
    answered("absent-4");
    env.produce(&[RawRecord::order("last")]);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1);
}
