//! An older copy of the log is put in its place: same topic, same offsets, other records.

use super::{Expected, accepted_ago, assert_stored, expect, orders};
use crate::env::private::PrivateKafka;
use crate::env::{Env, given};

#[test]
fn an_older_copy_of_the_log_that_grew_past_the_position_is_replayed() {
    let mut broker = PrivateKafka::start();
    let env = Env::on(&broker.brokers(), &given("ORDERS_TEST_PG")).prepared(1);
    let (kafka, mut expected) = (env.kafka(), Expected::new());
    kafka.produce(&env.topic(), &accepted_ago(orders("both", 100, 1, 1), 60));
    broker.stop();
    broker.copy_data("older");
    broker.restart();
    // The copy does not know these; the store will.
    kafka.produce(&env.topic(), &accepted_ago(orders("both", 50, 7, 1), 30));
    kafka.produce(&env.topic(), &accepted_ago(orders("lost", 50, 1, 1), 30));
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));
    expect(&mut expected, "both", 100, 1);
    expect(&mut expected, "both", 50, 7);
    expect(&mut expected, "lost", 50, 1);

    broker.stop();
    broker.restore("older");
    broker.restart();
    kafka.produce(&env.topic(), &accepted_ago(orders("other", 150, 1, 1), 0));
    kafka.produce(&env.topic(), &accepted_ago(orders("both", 10, 8, 1), 0));
    expect(&mut expected, "other", 150, 1);
    expect(&mut expected, "both", 10, 8);
    let consumer = env.consumer();
    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|260");
    assert_stored(&env, &expected);
    assert_eq!(
        db.text("SELECT epoch, from_offset, to_offset FROM log_gaps"),
        "2|200|"
    );
    assert_eq!(db.count("dead_letters"), 0);
    consumer.wait_ready();
}
