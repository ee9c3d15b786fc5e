//! A broker that stops and goes on, again and again, each time for longer than an order waits.

use std::time::Duration;

use support::auditor::{Poster, Record, Task, audit, audit_answers};
use support::private::PrivateKafka;
use support::{Env, given};

use super::{Outcome, Posted, RECOVERY};

#[test]
fn a_kafka_frozen_and_thawed_again_and_again_keeps_every_order_and_the_order_of_its_versions() {
    let kafka = PrivateKafka::start();
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(2);
    let (api, consumer) = (env.api(), env.consumer());
    let posters = [0, 1, 2, 3].map(|number| {
        let task = Task {
            authority: api.url(),
            prefix: format!("poster{number}"),
            orders: u32::MAX,
            poison_every: 40,
        };
        Poster::start_reading(&env, &task, Duration::from_millis(2))
    });
    let mut posted = Posted::default();
    for freeze in 0..2 {
        for poster in &posters {
            poster.wait_for_accepted(poster.accepted() + 50, RECOVERY);
        }
        kafka.freeze();
        // Until the last of these is answered: the freeze outlasts what was under way.
        let prefix = format!("frozen{freeze}");
        posted.at_once(&api, &prefix, 10);
        assert_eq!(posted.count(&prefix, Outcome::Accepted), 0);
        kafka.thaw();
    }
    let goes_again = |poster: &Poster| poster.wait_for_accepted(poster.accepted() + 50, RECOVERY);
    posters.iter().for_each(goes_again);
    let records = posters.into_iter().map(|poster| poster.end(RECOVERY));
    let record = records.reduce(Record::merge).expect("there were posters");
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &record);
    posted.audit(&env);
    audit_answers(&env, &api.url());
    assert_eq!(env.db().count("dead_letters"), 0);
    api.assert_bounded();
    consumer.assert_bounded();
}
