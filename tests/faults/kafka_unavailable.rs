//! Kafka is unavailable: the position is in the store, and reading continues there.

use std::time::Instant;

use support::private::PrivateKafka;
use support::{Env, TIMEOUT};

use super::{assert_all_stored, orders, versions, wait_until_blocked};

#[test]
fn nothing_is_lost_when_kafka_is_killed_within_a_backlog() {
    let mut broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(4);
    let consumer = env.consumer();
    let mut db = env.db();
    // Keeps the lanes in the middle of their first batches.
    db.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    env.produce(&orders("backlog", 6000, 1, 4));
    env.produce(&orders("backlog", 2000, 2, 4));
    wait_until_blocked(&mut env.db());

    broker.kill9();
    db.run("COMMIT");
    consumer.wait_until_unready("FAIL log");
    broker.restart();
    let back = Instant::now();
    consumer.wait_ready();
    env.produce(&orders("backlog", 1000, 3, 4));

    let expected = versions(&[
        ("backlog", 6000, 1),
        ("backlog", 2000, 2),
        ("backlog", 1000, 3),
    ]);
    assert_all_stored(&env, &expected);
    assert!(back.elapsed() < TIMEOUT, "it took {:?}", back.elapsed());
}
