//! Records that no API writes: without a value, without a key, oversized, or written by go-orders.

use sha2::{Digest, Sha256};
use support::Engines;
use support::database::bytes;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;

use super::rows::MARK;
use super::{Findings, Pipeline, get};

on_both_engines! {
    [
        records_without_a_value_or_with_another_key_are_accounted_for_and_counted,
        an_oversized_payload_becomes_a_dead_letter_whole_or_as_head_and_digest,
    ]
}

/// What go-orders' producer wrote, as Go's encoding/json writes it: `<`, `>`, `&` and the line
/// separators escaped, a nil slice as null, its time with nanoseconds in its own zone.
const BY_GO: &str = r#"{"order_uid":"b563feb7b2b84b6go","track_number":"WB\u003cIL\u003e\u0026TRACK","entry":"WBIL","delivery":{"name":"Тест \u2028Тестов","phone":"+9720000000","zip":"2639809","city":"Kiryat Mozkin","address":"Ploshad \"Mira\" 15\\","region":"Kraiot","email":"test@gmail.com"},"payment":{"transaction":"b563feb7b2b84b6go","request_id":"","currency":"USD","provider":"wbpay","amount":1817,"payment_dt":1637907727,"bank":"alpha","delivery_cost":1500,"goods_total":317,"custom_fee":0},"items":null,"locale":"en","internal_signature":"","customer_id":"test","delivery_service":"meest","shardkey":"9","sm_id":99,"date_created":"2021-11-26T09:22:19.123456789+03:00","oof_shard":"1"}"#;

fn records_without_a_value_or_with_another_key_are_accounted_for_and_counted(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    let keyless = RawRecord {
        key: None,
        ..RawRecord::order("keyless")
    };
    let records = [
        RawRecord::tombstone("gone"),
        RawRecord::default(),
        keyless,
        RawRecord::new("another", order("unusual").to_string()),
        RawRecord::new(b"\xff\x1b[31m\r\n".to_vec(), order("binary").to_string()),
        RawRecord::order("same"),
        RawRecord::order("headed")
            .header("accepted-at", "tomorrow")
            .header("", b"\xff\x00".to_vec()),
        RawRecord::new("b563feb7b2b84b6go", BY_GO),
    ];
    pipeline.env.produce(&records);
    pipeline.env.wait_until_applied();

    let mut db = pipeline.env.db();
    assert_eq!(
        db.text("SELECT order_uid FROM orders ORDER BY 1"),
        "b563feb7b2b84b6go\nbinary\nheaded\nkeyless\nsame\nunusual"
    );
    let letters = "SELECT \"offset\", key, payload, payload_bytes, order_uid, reason FROM dead_letters ORDER BY 1";
    let reason = "the record has no value (a tombstone)";
    // Every record of the embedded log has a key; that of these is empty.
    let no_key = engines.select("", "\\x");
    assert_eq!(
        db.text(letters),
        format!("0|\\x676f6e65||0||{reason}\n1|{no_key}||0||{reason}")
    );
    let foreign = pipeline
        .consumer
        .metric("orders_consumer_records_with_foreign_key_total");
    assert_eq!(foreign, 3, "keyless, unusual and binary");
    let mut expected: serde_json::Value = serde_json::from_str(BY_GO).expect("Go writes JSON");
    expected["items"] = serde_json::json!([]);
    expected["date_created"] = "2021-11-26T06:22:19.123456Z".into();
    let got = get(&mut pipeline.connect(), "b563feb7b2b84b6go");
    assert_eq!((got.status, got.json()), (200, expected));

    let mut findings = Findings::default();
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}

fn an_oversized_payload_becomes_a_dead_letter_whole_or_as_head_and_digest(engines: &Engines) {
    let env = engines.with_partitions(1);
    env.log()
        .configure_topic(&env.topic(), "max.message.bytes", "20000000");
    let mut pipeline = Pipeline::on(env);
    // The largest record of the embedded log, its key included.
    let largest = engines.select(16 << 20, (16 << 20) - 100);
    let mut payloads: Vec<Vec<u8>> = vec![
        // Below the limit for a document it is read, and its one field is too long.
        format!(
            r#"{{"order_uid":"long","date_created":"2021-11-26T06:22:19Z","entry":"{}"}}"#,
            "x".repeat(1_000_000)
        )
        .into(),
        format!(
            r#"{{"order_uid":"huge","entry":"{MARK}","items":[{}]}}"#,
            vec!["7"; 5_000_000].join(",")
        )
        .into(),
        vec![b'a'; largest],
        [vec![b'b'; largest], b"c".to_vec()].concat(),
    ];
    if *engines == Engines::Embedded {
        payloads.pop();
    }
    let mut records = Vec::new();
    for (number, payload) in payloads.iter().enumerate() {
        let uid = format!("between-{number}");
        records.push(RawRecord::new("large", payload.clone()));
        records.push(RawRecord::order(&uid));
    }
    pipeline.env.produce(&records);
    pipeline.env.wait_until_applied();

    let mut db = pipeline.env.db();
    assert_eq!(db.count("orders"), payloads.len() as i64);
    let rows = db.text(
        "SELECT payload, payload_bytes, payload_sha256, order_uid FROM dead_letters ORDER BY \"offset\"",
    );
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('|').collect()).collect();
    let uids: Vec<&str> = rows.iter().map(|row| row[3]).collect();
    assert_eq!(uids, ["long", "huge", "", ""][..payloads.len()]);
    for (row, payload) in rows.iter().zip(&payloads) {
        let (kept, digest) = (bytes(row[0]).expect("a payload"), bytes(row[2]));
        assert_eq!(row[1], payload.len().to_string());
        let is_whole = payload.len() <= largest;
        let expected = if is_whole {
            payload
        } else {
            &payload[..1 << 20]
        };
        assert!(
            kept == expected,
            "{} of {} bytes",
            kept.len(),
            payload.len()
        );
        let sha256 = Sha256::digest(payload).to_vec();
        assert_eq!(digest, (!is_whole).then_some(sha256));
    }
    let mut findings = Findings::default();
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}
