//! Migration from files to Kafka and PostgreSQL with `export` and `send`, without a loss.

use support::kafka::RawRecord;
use support::load_client::Workload;
use support::orders::order;
use support::{Env, TIMEOUT};

/// Every column of every table that an order has, in one order.
const ROWS: &str =
    "SELECT o.order_uid, o.track_number, o.entry, o.sm_id, d.name, d.address, p.amount,
        p.payment_dt, i.chrt_id, i.rid, i.price, i.status
    FROM orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)
    JOIN items i USING (order_uid) ORDER BY o.order_uid, i.rid";

#[test]
fn every_order_accepted_on_files_is_in_kafka_and_postgresql_after_export_and_send() {
    let files = Env::embedded();
    let mut up = files.up();
    let workload = Workload::new(&up.url()).orders(500);
    let answers = workload.start(&files, 1).finish(TIMEOUT);
    files
        .log()
        .produce(&files.topic(), &[RawRecord::new("bad", "no order")]);
    files.wait_until_applied();
    // The API stops first, so that nothing is accepted after the export.
    assert_eq!(up.stop().code(), Some(0));

    let export = || files.orders(&["export", "--to", "orders.ndjson"]);
    let error = export().run().exits(3).stderr;
    assert!(error.contains("--dead-letters"), "{error}");
    let with_dead_letters = export().arg("--dead-letters").arg("dead.ndjson");
    with_dead_letters.run().succeeds();
    let dead = std::fs::read_to_string(files.path().join("dead.ndjson")).expect("it is written");
    let dead: serde_json::Value = serde_json::from_str(dead.trim()).expect("one dead letter");
    assert_eq!(dead["payload"], "no order");

    let servers = Env::ready();
    let (api, _consumer) = (servers.api(), servers.consumer());
    let orders = files.path().join("orders.ndjson");
    let orders = std::fs::read(orders).expect("it is written");
    servers
        .orders(&["send", "-"])
        .env("ORDERS_API_URL", api.url())
        .stdin(orders)
        .run()
        .succeeds();
    servers.wait_until_applied();
    assert_eq!(servers.db().text(ROWS), files.db().text(ROWS));
    let accepted = answers.accepted().len() as i64;
    assert_eq!(servers.db().count("orders"), accepted);
    api.get_order("client0-0").expect_status(200);
}

#[test]
fn an_export_is_refused_while_accepted_orders_are_not_stored() {
    let env = Env::embedded().prepared(1);
    let api = env.api();
    api.post_order("a").expect_status(202);
    let refused = env.orders(&["export", "--wait", "1s"]).run().exits(3);
    assert!(refused.stderr.contains("1 record"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    env.orders(&["export", "--partial"]).run().succeeds();

    let _consumer = env.consumer();
    let whole = env.orders(&["export"]).run().succeeds();
    assert_eq!(whole.stdout.lines().count(), 1);
    let exported: serde_json::Value = serde_json::from_str(&whole.stdout).expect("an order");
    assert_eq!(exported, order("a"));
    // The snapshot is removed.
    for entry in std::fs::read_dir(env.data_dir()).expect("the folder exists") {
        let name = entry.expect("it can be read").file_name();
        let name = name.to_string_lossy();
        let is_known = ["log", "api.lock", "consumer.lock"].contains(&&*name);
        assert!(is_known || name.starts_with("store.db"), "`{name}` is left");
    }
}
