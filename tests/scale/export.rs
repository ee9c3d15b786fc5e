//! `orders export` of many orders.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use support::bulk::ITEMS;
use support::{Engines, Env, on_both_engines};

on_both_engines! {
    [an_export_of_many_orders_takes_seconds_and_little_memory]
}

/// Some hundred pages of PostgreSQL's.
const MANY: u32 = 100_000;

/// A tenth of what it took when the server compiled the query of each page.
const LIMIT: Duration = Duration::from_secs(30);

const MEMORY: u64 = 100 << 20;

fn an_export_of_many_orders_takes_seconds_and_little_memory(engines: &Engines) {
    let env = engines.ready();
    env.db().insert_orders(MANY);
    let mut export = env
        .orders(&["export", "--partial", "--to", "orders.ndjson"])
        .spawn();
    let (output, memory) = export.finished_with_peak(LIMIT);
    let output = output.succeeds();
    assert!(output.stderr.contains(&format!("exported {MANY} order(s)")));
    assert!(memory < MEMORY, "it took {memory} bytes of memory");

    let file = File::open(env.path().join("orders.ndjson")).expect("it was written");
    let (mut count, mut last) = (0, String::new());
    for line in BufReader::new(file).lines() {
        let line = line.expect("it can be read");
        let order: Value = serde_json::from_str(&line).expect("each line is JSON");
        let uid = order["order_uid"].as_str().expect("each order has a uid");
        assert!(*last < *uid, "`{uid}` follows `{last}`");
        assert_eq!(
            order["items"].as_array().map(Vec::len),
            Some(ITEMS as usize)
        );
        last = uid.to_owned();
        count += 1;
    }
    assert_eq!(count, MANY);
}

/// Pages are ranges of uids, which have the same rows in every table only where all sort alike.
#[test]
fn an_export_from_tables_that_sort_uids_differently_is_refused_and_not_incomplete() {
    let env = Env::ready();
    env.db().run(
        "INSERT INTO orders (order_uid) VALUES ('a');
         ALTER TABLE items ALTER order_uid TYPE TEXT COLLATE \"C\"",
    );
    let refused = env.orders(&["export", "--partial"]).run().exits(1);
    assert_eq!(refused.stdout, "");
    let reason = "have different collations: give them the one of `orders`";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
}
