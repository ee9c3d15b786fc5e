//! Two consumers of one group share the partitions.

use support::kafka::RawRecord;
use support::orders::order;
use support::{Env, TIMEOUT, eventually, http};

#[test]
fn partitions_are_shared_between_two_consumers() {
    let env = Env::with_partitions(4);
    let first = env.consumer();
    let second = env.consumer();
    second.wait_for_line("assigned partitions");
    let records: Vec<RawRecord> = (0..400)
        .map(|number| {
            let uid = format!("shared-{number}");
            RawRecord::new(uid.as_str(), order(&uid).to_string()).to(number % 4)
        })
        .collect();
    env.kafka().produce(&env.topic(), &records);
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
        eventually("a lookup is answered", TIMEOUT, || {
            let url = format!("{}/api/order/{uid}", api.url());
            (http::get(&url).status == 404).then_some(())
        });
    };
    answered("nobody-1");
    // Kill the one that answered; the other takes over.
    first.kill9();
    answered("nobody-2");
    let _third = env.consumer();
    answered("nobody-3");
    second.kill9();
    answered("nobody-4");
    env.kafka().produce(
        &env.topic(),
        &[RawRecord::new("last", order("last").to_string())],
    );
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1);
}
