//! Records that other programs write in Kafka transactions: markers and aborted records are skipped.

use support::Env;
use support::kafka::TransactionEnd;

use super::{assert_stored, orders, versions};

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
    // Each offset is a stored record or lies in a row of log_gaps.
    let holes = db.text(
        "SELECT DISTINCT hole FROM log_gaps, generate_series(from_offset, to_offset - 1) hole
         ORDER BY 1",
    );
    let holes: Vec<i64> = holes
        .lines()
        .map(|hole| hole.parse().expect("an offset"))
        .collect();
    assert_eq!(holes, [5, 6, 7, 8, 9, 10, 11, 17, 18, 19, 20]);
    consumer.wait_ready();
    assert_eq!(consumer.readiness().0, 200);
}
