//! From files to Kafka and PostgreSQL by export and send, without a loss.

use support::kafka::RawRecord;
use support::load_client::Workload;
use support::orders::order;
use support::private::free_port;
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
    let port = format!("127.0.0.1:{}", free_port());
    let mut up = files.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let workload = Workload::new(&port).orders(500);
    let answers = workload.start(&files, 1).finish(TIMEOUT);
    files
        .log()
        .produce(&files.topic(), &[RawRecord::new("bad", "no order")]);
    files.wait_until_applied();
    // The API stops first; nothing is accepted after the export.
    assert_eq!(up.stop().code(), Some(0));

    let refused = files.orders(&["export", "--to", "orders.ndjson"]).run();
    let refused = refused.exits(3);
    assert!(
        refused.stderr.contains("--dead-letters"),
        "{}",
        refused.stderr
    );
    files
        .orders(&[
            "export",
            "--to",
            "orders.ndjson",
            "--dead-letters",
            "dead.ndjson",
        ])
        .run()
        .succeeds();
    let dead = std::fs::read_to_string(files.path().join("dead.ndjson")).expect("it was written");
    let dead: serde_json::Value = serde_json::from_str(dead.trim()).expect("one letter");
    assert_eq!(dead["payload"], "no order");

    let servers = Env::ready();
    let (api, _consumer) = (servers.api(), servers.consumer());
    let orders = files.path().join("orders.ndjson");
    let orders = std::fs::read(orders).expect("it was written");
    servers
        .orders(&["send", "-"])
        .env("ORDERS_API_URL", api.url())
        .stdin(orders)
        .run()
        .succeeds();
    servers.wait_until_applied();
    assert_eq!(servers.db().text(ROWS), files.db().text(ROWS));
    assert_eq!(
        servers.db().count("orders"),
        answers.accepted().len() as i64
    );
    let one = api.get_order("client0-0");
    assert_eq!(one.status, 200, "{}", one.text());
}

#[test]
fn an_export_is_refused_while_accepted_orders_are_not_stored() {
    let env = Env::embedded().prepared(1);
    let api = env.api();
    let posted = api.post_order("a");
    assert_eq!(posted.status, 202, "{}", posted.text());
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
    let left = std::fs::read_dir(env.data_dir()).expect("the folder is there");
    let left: Vec<String> = left
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !["log", "api.lock", "consumer.lock"].contains(&name.as_str()))
        .filter(|name| !name.starts_with("store.db"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
