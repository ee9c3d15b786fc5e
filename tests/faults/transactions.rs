//! Records that other programs write in Kafka transactions: markers and aborted records are skipped.

use support::Env;
use support::kafka::TransactionEnd;

use super::{assert_stored, orders, versions};

const WITHOUT_RECORD: &str = "orders_consumer_offsets_without_record_total";

#[test]
fn a_transactional_producer_does_not_fill_the_table_of_gaps() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (kafka, topic) = (env.kafka(), env.topic());
    for number in 0..20 {
        let order = orders(&format!("t{number}"), 1, 1, 1);
        kafka.produce_in_transaction(&topic, &order, TransactionEnd::Commit);
    }
    let mut db = env.db();
    db.eventually("SELECT next_offset FROM log_positions", "40");
    assert_eq!((db.count("orders"), db.count("log_gaps")), (20, 0));
    consumer.wait_for_metric(WITHOUT_RECORD, 20);
    consumer.wait_ready();
}

#[test]
fn transaction_markers_and_aborted_records_are_skipped_and_recorded_as_gaps() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (kafka, topic) = (env.kafka(), env.topic());
    let write = |prefix, count, version, end| {
        kafka.produce_in_transaction(&topic, &orders(prefix, count, version, 1), end);
    };
    write("committed", 5, 1, TransactionEnd::Commit);
    write("aborted", 5, 1, TransactionEnd::Abort);
    env.produce(&orders("plain", 3, 1, 1));
    write("committed", 2, 2, TransactionEnd::Commit);
    write("plain", 2, 9, TransactionEnd::Abort);
    // 5 + marker, 5 + marker, 3, 2 + marker, 2 + marker.
    assert_eq!(kafka.ends(&topic), [21]);

    let mut db = env.db();
    db.eventually("SELECT epoch, next_offset FROM log_positions", "1|21");
    let expected = versions(&[("committed", 5, 1), ("committed", 2, 2), ("plain", 3, 1)]);
    assert_stored(&env, &expected);
    assert_eq!(db.count("dead_letters"), 0);
    // Each offset is a stored record or lies in a row of log_gaps, but for single markers: whether one
    // is passed alone depends on when it was read.
    let holes = db.text(
        "SELECT DISTINCT hole FROM log_gaps, generate_series(from_offset, to_offset - 1) hole
         ORDER BY 1",
    );
    let holes: Vec<i64> = holes
        .lines()
        .map(|hole| hole.parse().expect("an offset"))
        .filter(|hole| ![5, 17].contains(hole))
        .collect();
    assert_eq!(holes, [6, 7, 8, 9, 10, 11, 18, 19, 20]);
    assert_eq!(consumer.metric(WITHOUT_RECORD), 11);
    consumer.wait_ready();
    assert_eq!(consumer.readiness().0, 200);
}
