//! The log is replaced by an older copy: same topic, same offsets, other records.

use support::Env;
use support::private::PrivateKafka;

use super::{accepted_ago, assert_stored, orders, versions};

/// A broker whose log has a hundred orders, and a copy of that log.
fn with_an_older_copy() -> (PrivateKafka, Env) {
    let mut broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(1);
    env.produce(&accepted_ago(orders("both", 100, 1, 1), 60));
    broker.stop();
    broker.copy_data("older");
    broker.restart();
    (broker, env)
}

#[test]
fn an_older_copy_of_the_log_that_grew_past_the_position_is_replayed() {
    let (mut broker, env) = with_an_older_copy();
    // These are stored, and not in the copy.
    env.produce(&accepted_ago(orders("both", 50, 7, 1), 30));
    env.produce(&accepted_ago(orders("lost", 50, 1, 1), 30));
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    broker.stop();
    broker.restore("older");
    broker.restart();
    env.produce(&accepted_ago(orders("other", 150, 1, 1), 0));
    env.produce(&accepted_ago(orders("both", 10, 8, 1), 0));
    let consumer = env.consumer();
    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|260");
    let both = [("both", 100, 1), ("both", 50, 7), ("both", 10, 8)];
    let others = [("lost", 50, 1), ("other", 150, 1)];
    assert_stored(&env, &versions(&[&both[..], &others].concat()));
    let gaps = "SELECT epoch, from_offset, to_offset FROM log_gaps";
    assert_eq!(db.text(gaps), "2|200|");
    assert_eq!(db.count("dead_letters"), 0);
    consumer.wait_ready();
}

#[test]
fn a_log_replaced_under_a_running_consumer_is_replayed() {
    let (mut broker, env) = with_an_older_copy();
    let consumer = env.consumer();
    env.produce(&accepted_ago(orders("both", 50, 7, 1), 30));
    env.wait_until_applied();

    broker.stop();
    broker.restore("older");
    // Filled past the position before the consumer can see it.
    consumer.freeze();
    broker.restart();
    env.produce(&accepted_ago(orders("other", 150, 1, 1), 0));
    consumer.thaw();
    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|250");
    let expected = versions(&[("both", 100, 1), ("both", 50, 7), ("other", 150, 1)]);
    assert_stored(&env, &expected);
    assert_eq!(db.count("dead_letters"), 0);
    consumer.wait_ready();
}

#[test]
fn a_log_that_ends_before_the_position_is_waited_for_and_then_replayed() {
    let env = Env::ready();
    let mut db = env.db();
    env.produce(&orders("order", 50, 1, 1));
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    // As if fifty more had been applied before the log lost them.
    db.run(
        "UPDATE log_positions SET next_offset = 100, tail_offset = 99, tail_digest = sha256('x')",
    );
    let consumer = env.consume().timeouts("truncation=5000ms").spawn();
    consumer.wait_until_unready("past the end of the log");
    assert_eq!(db.count("log_gaps"), 0);
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|50");
    let gaps = "SELECT epoch, from_offset, to_offset FROM log_gaps";
    assert_eq!(db.text(gaps), "2|100|");
    assert_stored(&env, &versions(&[("order", 50, 1)]));
    consumer.wait_ready();
}
