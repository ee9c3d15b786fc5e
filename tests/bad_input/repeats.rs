//! The same order again, in the same version and in others, and the same log again.
//!
//! `pipeline::versions` tests which of several versions is stored.

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, http};

use super::{World, get};

on_both_engines! {
    [
        the_same_order_twice_is_accepted_twice_and_stored_once,
        a_restart_after_malformed_records_reads_none_of_them_again,
    ]
}

fn the_same_order_twice_is_accepted_twice_and_stored_once(engines: &Engines) {
    let mut world = World::start(*engines, 1);
    let url = format!("{}/orders", world.api.url());
    for _ in 0..2 {
        let answer = http::post(&url, order("twice").to_string());
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    // Without a consumer, so that all of them come in one batch.
    world.consumer.freeze();
    let again = RawRecord::new("again", order("again").to_string());
    let broken = RawRecord::new("broken", "{");
    let small = RawRecord::new("case", order_version("case", 1).to_string());
    let capital = RawRecord::new("CASE", order_version("CASE", 2).to_string());
    let records = [&again, &broken, &small, &again, &capital, &broken].map(RawRecord::clone);
    world.env.log().produce(&world.env.topic(), &records);
    world.consumer.thaw();
    world.env.wait_until_applied();

    let mut db = world.env.db();
    let stored = "SELECT o.order_uid, p.amount, (SELECT count(*) FROM items i WHERE i.order_uid = o.order_uid)
                  FROM orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)";
    let stored = db.text(stored);
    let mut stored: Vec<&str> = stored.lines().collect();
    stored.sort_unstable();
    assert_eq!(stored, ["CASE|2|3", "again|1|2", "case|1|2", "twice|1|2"]);
    let source = "SELECT order_uid, source_offset FROM orders WHERE order_uid IN ('again', 'twice') ORDER BY 1";
    assert_eq!(db.text(source), "again|5\ntwice|1");
    // A record that is broken twice is two records that are accounted for.
    assert_eq!(
        db.text("SELECT \"offset\", key FROM dead_letters ORDER BY 1"),
        "3|\\x62726f6b656e\n7|\\x62726f6b656e"
    );
    let mut connection = world.connect();
    assert_eq!(
        get(&mut connection, "case").json(),
        order_version("case", 1)
    );
    assert_eq!(
        get(&mut connection, "CASE").json(),
        order_version("CASE", 2)
    );
    world.still_works();
}

fn a_restart_after_malformed_records_reads_none_of_them_again(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    let broken = RawRecord::new("x", "not an order");
    let fine = RawRecord::new("fine", order("fine").to_string());
    let records = [broken.clone(), fine, broken];
    env.log().produce(&env.topic(), &records);
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    let _consumer = env.consumer();
    let next = RawRecord::new("next", order("next").to_string());
    env.log().produce(&env.topic(), &[next]);
    env.wait_until_applied();
    let mut db = env.db();
    let offsets = "SELECT \"offset\" FROM dead_letters ORDER BY 1";
    assert_eq!(db.text(offsets), "0\n2");
    assert_eq!(db.count("orders"), 2);
}
