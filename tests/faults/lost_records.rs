//! The log itself loses records: by retention, or because an older copy takes its place. Listed and
//! red, never silent; and the database never goes back.

use std::time::Duration;

use crate::env::kafka::Outgoing;
use crate::env::orders::order_version;
use crate::env::private::PrivateKafka;
use crate::env::{Env, eventually, given};

const RECOVERY: Duration = Duration::from_secs(60);

fn orders(prefix: &str, range: std::ops::Range<u32>) -> Vec<Outgoing> {
    range
        .map(|number| {
            let uid = format!("{prefix}-{number}");
            Outgoing::new(uid.as_str(), order_version(&uid, 1).to_string())
        })
        .collect()
}

#[test]
fn retention_past_unread_records_stops_that_partition_until_the_gap_is_accepted() {
    let env = Env::with_partitions(2);
    let mut consumer = env.consumer();
    let to = |partition: i32, records: Vec<Outgoing>| -> Vec<Outgoing> {
        records
            .into_iter()
            .map(|record| record.to(partition))
            .collect()
    };
    env.kafka()
        .produce(&env.topic(), &to(0, orders("first", 0..10)));
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));
    env.kafka()
        .produce(&env.topic(), &to(0, orders("lost", 0..20)));
    env.kafka().delete_records(&env.topic(), 0, 25);

    // The other partition goes on; this one is red and says what would be accepted.
    let gap = format!("{}/0:10-24", env.topic());
    let mut red = env.consume().spawn();
    env.kafka()
        .produce(&env.topic(), &to(1, orders("other", 0..5)));
    env.db().eventually_within(
        "SELECT count(*) FROM orders WHERE order_uid LIKE 'other-%'",
        5,
        RECOVERY,
    );
    eventually("readiness names the gap", RECOVERY, || {
        let (status, said) = red.readiness();
        (status == 503 && said.contains(&gap)).then_some(())
    });
    assert_eq!(
        env.db()
            .number("SELECT count(*) FROM orders WHERE order_uid LIKE 'lost-%'"),
        0
    );
    assert_eq!(red.stop().code(), Some(0));

    let _green = env.consume().arg("--accept-gap").arg(&gap).start();
    env.wait_until_applied();
    let mut db = env.db();
    assert_eq!(
        db.number("SELECT count(*) FROM orders WHERE order_uid LIKE 'lost-%'"),
        5
    );
    assert_eq!(
        db.text("SELECT from_offset, to_offset FROM log_gaps"),
        "10|25"
    );
    assert_eq!(db.count("dead_letters"), 0);
}

#[test]
fn a_gap_that_was_not_accepted_stays_red() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &orders("first", 0..3));
    env.wait_until_applied();
    consumer.stop();
    env.kafka().produce(&env.topic(), &orders("lost", 0..9));
    env.kafka().delete_records(&env.topic(), 0, 10);

    let wrong = format!("{}/0:3-8", env.topic());
    let red = env.consume().arg("--accept-gap").arg(&wrong).spawn();
    eventually("readiness names the gap", RECOVERY, || {
        let (status, said) = red.readiness();
        (status == 503 && said.contains("/0:3-9")).then_some(())
    });
    assert_eq!(env.db().text("SELECT next_offset FROM log_positions"), "3");
}

#[test]
fn an_older_copy_of_the_log_in_its_place_is_noticed_and_replayed() {
    let mut kafka = PrivateKafka::start();
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(1);
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &orders("early", 0..50));
    env.wait_until_applied();
    consumer.stop();
    kafka.stop();
    kafka.copy_data("older");
    kafka.restart();

    // Applied, then lost with the newer log: the database keeps them.
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &orders("lost", 0..20));
    env.wait_until_applied();
    consumer.stop();
    kafka.stop();
    kafka.restore("older");
    kafka.restart();

    // The older log grows past the position with other records: only the tail can tell.
    env.kafka().produce(&env.topic(), &orders("regrown", 0..40));
    let _consumer = env.consumer();
    let mut db = env.db();
    db.eventually_within(
        "SELECT count(*) FROM orders WHERE order_uid LIKE 'regrown-%'",
        40,
        RECOVERY,
    );
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|90");
    assert_eq!((db.count("orders"), db.count("dead_letters")), (110, 0));
}
