//! Two consumers of one group: each reads its share.

use crate::env::Env;
use crate::env::kafka::Outgoing;
use crate::env::orders::order;

#[test]
fn partitions_are_shared_between_two_consumers() {
    let env = Env::with_partitions(4);
    let first = env.consumer();
    let second = env.consumer();
    second.wait_for_line("assigned partitions");
    let records: Vec<Outgoing> = (0..400)
        .map(|number| {
            let uid = format!("shared-{number}");
            Outgoing::new(uid.as_str(), order(&uid).to_string()).to(number % 4)
        })
        .collect();
    env.kafka().produce(&env.topic(), &records);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 400);
    for consumer in [first, second] {
        consumer.wait_for_line("processed ");
    }
}
