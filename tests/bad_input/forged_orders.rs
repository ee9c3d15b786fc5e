//! Forged records of the topic of orders: what they say of themselves is checked before it is believed.

use std::time::{SystemTime, UNIX_EPOCH};

use orders::order::Order;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually};

use super::{Pipeline, get};

on_both_engines! {
    [
        bytes_of_another_program_are_never_served_as_they_are,
        an_order_left_out_across_partitions_is_logged_with_both_places,
    ]
}

const YEAR_9999: &str = "253402300799999999";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.expect("it is after 1970").as_millis();
    i64::try_from(since).expect("it is long before the end of time")
}

fn post(pipeline: &Pipeline, uid: &str, version: u32) {
    let body = order_version(uid, version).to_string();
    pipeline.api.post(body).expect_status(202);
}

/// The order as an API writes it to the topic.
fn normalised(uid: &str) -> String {
    let text = order(uid).to_string();
    let order = Order::decode(text.as_bytes()).expect("it is valid");
    String::from_utf8(order.encode()).expect("it is UTF-8")
}

fn bytes_of_another_program_are_never_served_as_they_are(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    let disguised = normalised("disguised").replacen("\"entry\"", "<script>", 1);
    assert!(disguised.starts_with(r#"{"order_uid":"disguised","track_number":"#));
    let spaced = serde_json::to_string_pretty(&order("spaced")).expect("it is JSON");
    // Later than the API's start, as of an order that another instance accepted.
    let accepted_at = ((now_ms() + 60_000) * 1_000).to_string();
    let records = [("disguised", disguised), ("spaced", spaced)]
        .map(|(uid, value)| RawRecord::new(uid, value).header("accepted-at", accepted_at.as_str()));
    pipeline.env.produce(&records);
    pipeline.env.wait_until_applied();

    let mut connection = pipeline.connect();
    // The follower has read both when this one is in the cache.
    let spaced = eventually("the order in the cache", TIMEOUT, || {
        let answer = get(&mut connection, "spaced").expect_status(200);
        let status = answer.header("cache-status").unwrap_or_default();
        status.starts_with("orders; hit").then_some(answer)
    });
    assert_eq!(spaced.text(), normalised("spaced"));
    let answer = get(&mut connection, "disguised").expect_status(404);
    assert_eq!(answer.json()["type"], "dead-lettered");
    pipeline.assert_works();
}

#[test]
fn a_forged_accept_time_does_not_hide_newer_orders() {
    let mut pipeline = Pipeline::start(Engines::Servers, 2);
    let uid = "contested";
    let old = RawRecord::version(uid, 1).header("accepted-at", "1000");
    let partition = pipeline.env.produce(&[old])[0].partition;
    // The broker would refuse a timestamp in the year 9999.
    let forged = RawRecord {
        timestamp: Some(now_ms() - 600_000),
        ..RawRecord::version(uid, 66)
    };
    let forged = forged.to(1 - partition).header("accepted-at", YEAR_9999);
    pipeline.env.produce(&[forged]);
    pipeline.env.wait_until_applied();
    let amount = "SELECT amount FROM payment";
    assert_eq!(pipeline.env.db().text(amount), "66");

    post(&pipeline, uid, 2);
    pipeline.env.wait_until_applied();
    assert_eq!(pipeline.env.db().text(amount), "2");
    let mut connection = pipeline.connect();
    assert_eq!(get(&mut connection, uid).json(), order_version(uid, 2));

    // The same on every replay.
    assert_eq!(pipeline.consumer.stop().code(), Some(0));
    let mut db = pipeline.env.db();
    let row = "SELECT * FROM orders";
    let before = db.text(row);
    db.run("UPDATE log_positions SET next_offset = 0, tail_offset = NULL, tail_digest = NULL");
    pipeline.consumer = pipeline.env.consumer();
    pipeline.env.wait_until_applied();
    assert_eq!((db.text(row), db.text(amount)), (before, "2".into()));
    pipeline.assert_works();
}

#[test]
fn a_record_from_the_future_does_not_enter_the_topic() {
    let pipeline = Pipeline::start(Engines::Servers, 1);
    let from_the_future = RawRecord {
        timestamp: Some(now_ms() + 600_000),
        ..RawRecord::order("future")
    };
    let kafka = pipeline.env.kafka();
    let refused = kafka.try_produce(&pipeline.env.topic(), &from_the_future);
    let reason = refused.expect_err("its timestamp is refused");
    assert!(reason.contains("InvalidTimestamp"), "{reason}");
    assert_eq!(kafka.ends(&pipeline.env.topic()), [0]);
}

fn an_order_left_out_across_partitions_is_logged_with_both_places(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 2);
    let uid = "contested";
    let old = RawRecord::version(uid, 1).header("accepted-at", "1000");
    let partition = pipeline.env.produce(&[old])[0].partition;
    // The partition follows from the key, and any key will do.
    let forged = |key: i32| RawRecord {
        key: Some(format!("key-{key}").into()),
        ..RawRecord::version(uid, 66).header("accepted-at", YEAR_9999)
    };
    let mut places = (0..20).map(|key| pipeline.env.produce(&[forged(key)])[0]);
    let forged = places.find(|at| at.partition != partition);
    let forged = forged.expect("a key of the other partition");
    pipeline.env.wait_until_applied();
    let mark = pipeline.consumer.mark();

    post(&pipeline, uid, 2);
    pipeline.env.wait_until_applied();
    let line = pipeline
        .consumer
        .wait_for_line_after(mark, "order left out", TIMEOUT);
    let topic = pipeline.env.topic();
    let posted =
        pipeline.env.log().ends(&topic)[usize::try_from(partition).expect("it is 0 or 1")] - 1;
    let record = format!("record=\"{topic}/{partition}/{posted}\"");
    assert!(line.contains(&record), "{line}");
    let stored = format!("/{topic}/{forged}\"");
    assert!(line.contains(&stored), "{line}");
    let processed = format!("processed order {uid} (offset {posted})");
    let lines = pipeline.consumer.lines();
    assert!(!lines[mark..].iter().any(|line| line.contains(&processed)));
    pipeline.assert_works();
}
