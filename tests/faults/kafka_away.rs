//! Kafka is unavailable: the position is in the store, and reading continues there.

use std::time::Instant;

use support::private::PrivateKafka;
use support::{Env, TIMEOUT};

use super::{Expected, assert_all_stored, expect, orders, wait_until_locked_out};

#[test]
fn nothing_is_lost_when_kafka_is_killed_within_a_backlog() {
    let mut broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(4);
    let consumer = env.consumer();
    let (kafka, mut db) = (env.kafka(), env.db());
    // Keeps the lanes in the middle of their first batches.
    db.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    kafka.produce(&env.topic(), &orders("backlog", 6000, 1, 4));
    kafka.produce(&env.topic(), &orders("backlog", 2000, 2, 4));
    wait_until_locked_out(&mut env.db());

    broker.kill9();
    db.run("COMMIT");
    consumer.wait_until_unready("FAIL log");
    broker.restart();
    let back = Instant::now();
    consumer.wait_ready();
    kafka.produce(&env.topic(), &orders("backlog", 1000, 3, 4));

    let mut expected = Expected::new();
    expect(&mut expected, "backlog", 6000, 1);
    expect(&mut expected, "backlog", 2000, 2);
    expect(&mut expected, "backlog", 1000, 3);
    assert_all_stored(&env, &expected);
    assert!(back.elapsed() < TIMEOUT, "it took {:?}", back.elapsed());
}

#[test]
fn a_consumer_started_before_kafka_reports_it_and_recovers() {
    let mut broker = PrivateKafka::stopped("");
    let env = Env::on_kafka(&broker);
    env.orders(&["migrate"]).run().succeeds();
    let consumer = env.consume().spawn();
    consumer.wait_until_unready("FAIL log");

    broker.restart();
    // A topic that does not exist yet is waited for, too.
    consumer.wait_until_unready("orders create-topics");
    env.orders(&["create-topics", "--partitions", "2"])
        .run()
        .succeeds();
    env.kafka()
        .produce(&env.topic(), &orders("early", 50, 1, 2));
    consumer.wait_ready();
    let mut expected = Expected::new();
    expect(&mut expected, "early", 50, 1);
    assert_all_stored(&env, &expected);
}
