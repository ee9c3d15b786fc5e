//! Rows that another program changed in the store: what cannot be right is not believed.

use support::Engines;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};

use super::{Pipeline, get};

on_both_engines! {
    [
        a_position_that_no_consumer_writes_stops_its_partition_until_it_is_corrected,
        a_row_with_a_forged_source_does_not_outrank_the_next_version,
    ]
}

fn record(uid: &str) -> RawRecord {
    RawRecord::new(uid, order(uid).to_string())
}

fn a_position_that_no_consumer_writes_stops_its_partition_until_it_is_corrected(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    env.produce(&[record("before")]);
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));
    env.produce(&[record("after")]);
    for forged in [
        "epoch = 2147483647",
        "next_offset = -9223372036854775808",
        "next_offset = 9223372036854775807",
        "tail_offset = 9223372036854775807",
    ] {
        env.db().run(&format!("UPDATE log_positions SET {forged}"));
        let mut consumer = env.consume().spawn();
        consumer.wait_until_unready("which no consumer writes");
        assert_eq!(env.db().count("orders"), 1, "{forged}");
        assert_eq!(consumer.stop().code(), Some(0));
        env.db()
            .run("UPDATE log_positions SET epoch = 1, next_offset = 1, tail_offset = NULL");
    }
    env.db().run("UPDATE log_positions SET next_offset = -1");
    let consumer = env.consume().spawn();
    consumer.wait_until_unready("which no consumer writes");
    env.db().run("UPDATE log_positions SET next_offset = 0");
    consumer.wait_ready();
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 2);
}

fn a_row_with_a_forged_source_does_not_outrank_the_next_version(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    pipeline.api.accepts("a");
    pipeline.env.wait_until_applied();
    let forged = "UPDATE orders SET source_offset = 9223372036854775807";
    pipeline.env.db().run(forged);
    // With an empty cache, which then has what the lookup replies.
    assert_eq!(pipeline.api.stop().code(), Some(0));
    pipeline.api = pipeline.env.serve_api().without_warm_up().start();
    let mut connection = pipeline.connect();
    let stored = get(&mut connection, "a").expect_status(200);
    assert_eq!(stored.json(), order("a"));

    let newer = order_version("a", 2);
    pipeline.api.post(newer.to_string()).expect_status(202);
    assert_eq!(get(&mut connection, "a").json(), newer);
}
