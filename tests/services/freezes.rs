//! A broker that freezes repeatedly, each time for longer than the timeout of an order.

use std::time::Duration;

use support::Env;
use support::audit::{audit, audit_answers};
use support::load_client::Workload;
use support::private::PrivateKafka;

use super::{Outcome, Posted, RECOVERY};

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
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
    posted.audit(&env);
    audit_answers(&env, &api.url());
    assert_eq!(env.db().count("dead_letters"), 0);
    api.assert_bounded();
    consumer.assert_bounded();
}
