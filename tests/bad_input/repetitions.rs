//! The same order again, in the same version and in others, and the same log again.
//!
//! `pipeline::versions` tests which of several versions is stored.

use support::Engines;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order_version;

use super::{Pipeline, get};

on_both_engines! {
    [
        the_same_order_twice_is_accepted_twice_and_stored_once,
        a_restart_after_malformed_records_reads_none_of_them_again,
    ]
}

fn the_same_order_twice_is_accepted_twice_and_stored_once(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    for _ in 0..2 {
        pipeline.api.accepts("twice");
    }
    // The consumer is frozen, so that all of them are in one batch.
    pipeline.consumer.freeze();
    let again = RawRecord::order("again");
    let malformed = RawRecord::new("malformed", "{");
    let small = RawRecord::version("case", 1);
    let capital = RawRecord::version("CASE", 2);
    let records = [&again, &malformed, &small, &again, &capital, &malformed].map(RawRecord::clone);
    pipeline.env.produce(&records);
    pipeline.consumer.thaw();
    pipeline.env.wait_until_applied();

    let mut db = pipeline.env.db();
    let stored = "SELECT o.order_uid, p.amount, (SELECT count(*) FROM items i WHERE i.order_uid = o.order_uid)
                  FROM orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)";
    let stored = db.text(stored);
    let mut stored: Vec<&str> = stored.lines().collect();
    stored.sort_unstable();
    assert_eq!(stored, ["CASE|2|3", "again|1|2", "case|1|2", "twice|1|2"]);
    let source = "SELECT order_uid, source_offset FROM orders WHERE order_uid IN ('again', 'twice') ORDER BY 1";
    assert_eq!(db.text(source), "again|5\ntwice|1");
    // A malformed record that is written twice is two dead letters.
    assert_eq!(
        db.text("SELECT \"offset\", key FROM dead_letters ORDER BY 1"),
        "3|\\x6d616c666f726d6564\n7|\\x6d616c666f726d6564"
    );
    let mut connection = pipeline.connect();
    for (uid, version) in [("case", 1), ("CASE", 2)] {
        let answer = get(&mut connection, uid);
        assert_eq!(answer.json(), order_version(uid, version));
    }
    pipeline.assert_works();
}

fn a_restart_after_malformed_records_reads_none_of_them_again(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    let malformed = RawRecord::new("x", "not an order");
    let fine = RawRecord::order("fine");
    let records = [malformed.clone(), fine, malformed];
    env.produce(&records);
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    let _consumer = env.consumer();
    let next = RawRecord::order("next");
    env.produce(&[next]);
    env.wait_until_applied();
    let mut db = env.db();
    let offsets = "SELECT \"offset\" FROM dead_letters ORDER BY 1";
    assert_eq!(db.text(offsets), "0\n2");
    assert_eq!(db.count("orders"), 2);
}
