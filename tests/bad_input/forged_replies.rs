//! Forged, late and unsolicited replies to lookups: GET answers as it would without them.

use std::thread::{self, JoinHandle};

use serde_json::Value;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually, http, wait_until};

use super::{Findings, Pipeline, get};

on_both_engines! {
    [
        unsolicited_replies_change_nothing,
        a_pending_lookup_accepts_only_its_own_reply,
        a_forged_reply_is_never_kept_beyond_the_gets_that_wait,
    ]
}

/// Version 3 of the order `stored` is in the store; the API does not have it, and the consumer does not
/// reply.
fn without_replies(engines: Engines) -> Pipeline {
    let mut pipeline = Pipeline::start(engines, 1);
    pipeline.env.produce(&[RawRecord::version("stored", 3)]);
    pipeline.env.wait_until_applied();
    pipeline.api.stop();
    pipeline.api = pipeline
        .env
        .serve_api()
        .without_warm_up()
        .env("LOOKUP_WAIT_MS", "20000")
        .start();
    pipeline.consumer.freeze();
    pipeline
}

/// Returns when the lookup of this GET is in the topic.
fn start_get(pipeline: &Pipeline, uid: &str) -> JoinHandle<http::Response> {
    let url = format!("{}/api/order/{uid}", pipeline.api.url());
    let waiting = thread::spawn(move || http::get(&url));
    let log = pipeline.env.log();
    wait_until("the lookup in the topic", TIMEOUT, || {
        let lookups = log.read_all(&pipeline.env.lookup_topic());
        lookups.iter().any(|lookup| lookup.key_text() == uid)
    });
    waiting
}

/// The correlation id of the only lookup; anyone who may read the topic knows it.
fn correlation_id(pipeline: &Pipeline) -> String {
    let lookups = pipeline.env.log().read_all(&pipeline.env.lookup_topic());
    let id = lookups[0].header("correlation-id");
    id.expect("a lookup has a correlation id")
}

fn assert_version(answer: &http::Response, version: u32) {
    let found = (answer.status, answer.json());
    assert_eq!(found, (200, order_version("stored", version)), "{answer:?}");
}

fn a_forged_reply_is_never_kept_beyond_the_gets_that_wait(engines: &Engines) {
    let mut pipeline = without_replies(*engines);
    let log = pipeline.env.log();
    let found_topic = pipeline.env.found_topic();
    let valid = || forged("stored", &order_version("stored", 66));
    let waiting = start_get(&pipeline, "stored");
    let not_this_order = [
        forged("stored", &order_version("another", 66)),
        RawRecord::new("stored", r#"{"a":1}"#),
        RawRecord::new("stored", r#"{"order_uid":"stored"}"#),
    ];
    log.produce(&found_topic, &not_this_order);
    log.produce(&found_topic, &[valid()]);
    // As go-orders' consumer replies: it is answered, and nothing says that it is the newest version.
    let answer = waiting.join().expect("an answer");
    assert_version(&answer, 66);
    let status = answer.header("cache-status");
    assert_eq!(status, Some("orders; fwd=miss; detail=unverified"));

    pipeline.consumer.thaw();
    let mut connection = pipeline.connect();
    assert_version(&get(&mut connection, "stored"), 3);
    let newer = order_version("stored", 4).to_string();
    let posted = connection.post("/orders", newer.as_bytes());
    posted.expect("an answer").expect_status(202);
    assert_version(&get(&mut connection, "stored"), 4);
    log.produce(&found_topic, &[valid(), valid()]);
    // The API has read them when it receives this reply.
    assert_eq!(get(&mut connection, "after-them").status, 404);
    assert_version(&get(&mut connection, "stored"), 4);
    pipeline.assert_works();
}

#[test]
fn a_reply_for_a_partition_that_no_topic_has_costs_no_memory() {
    let mut pipeline = without_replies(Engines::Servers);
    let before = pipeline.api.peak_resident_bytes();
    let waiting = start_get(&pipeline, "stored");
    let id = correlation_id(&pipeline);
    let from = |partition: i32, body: String| {
        RawRecord::new("stored", body)
            .header("source", format!("X/{partition}/9"))
            .header("accepted-at", "1")
            .header("behind", "1")
    };
    let hostile = |partition| {
        let no_order = || from(partition, r#"{"a":1}"#.into());
        let id = id.as_str();
        [no_order(), no_order().header("correlation-id", id)]
    };
    let mut replies = [hostile(50_000_000), hostile(i32::MAX)].concat();
    let order = order_version("stored", 66).to_string();
    replies.push(from(i32::MAX, order).header("correlation-id", id.as_str()));
    let log = pipeline.env.log();
    log.produce(&pipeline.env.found_topic(), &replies);
    // The last one is a reply to this very request.
    assert_version(&waiting.join().expect("an answer"), 66);
    let grown = pipeline.api.peak_resident_bytes() - before;
    assert!(grown < 64 << 20, "it took {grown} bytes");

    // The log cannot have that version, so it outranks nothing.
    pipeline.consumer.thaw();
    let mut connection = pipeline.connect();
    let newer = order_version("stored", 4).to_string();
    let posted = connection.post("/orders", newer.as_bytes());
    posted.expect("an answer").expect_status(202);
    assert_version(&get(&mut connection, "stored"), 4);
    pipeline.assert_works();
}

#[test]
fn a_lookup_of_another_program_describes_no_reply() {
    let mut pipeline = without_replies(Engines::Servers);
    let waiting = start_get(&pipeline, "stored");
    let lookup = || {
        RawRecord::new("stored", "stored")
            .header("source", "X/2147483647/9")
            .header("accepted-at", "253402300799999999")
            .header("behind", "7")
            .header("dead-lettered", "orders/0/0")
            .header("x", "1")
    };
    let with_id = lookup().header("correlation-id", correlation_id(&pipeline));
    let log = pipeline.env.log();
    log.produce(&pipeline.env.lookup_topic(), &[lookup(), with_id]);
    pipeline.consumer.thaw();
    let answer = waiting.join().expect("an answer");
    assert_version(&answer, 3);
    assert_eq!(answer.header("order-behind"), None);
    let replies = eventually("a reply to each program", TIMEOUT, || {
        let replies = log.read_all(&pipeline.env.found_topic());
        (replies.len() >= 2).then_some(replies)
    });
    for reply in replies {
        let foreign = ["behind", "dead-lettered", "x"].map(|name| reply.header(name));
        assert_eq!(foreign, [None, None, None], "{reply:?}");
        let source = reply.header("source").expect("the order has a source");
        assert!(
            source.ends_with("/0/0") && !source.starts_with("X/"),
            "{source}"
        );
    }
    pipeline.assert_works();
}

/// A reply with all headers of a real one; its accept time is later than that of any order.
fn forged(uid: &str, order: &Value) -> RawRecord {
    RawRecord::new(uid, order.to_string())
        .header("source", "AAAAAAAAAAAAAAAAAAAAAA/0/900000")
        .header("accepted-at", "253402300799999999")
}

/// Replies of every kind for one uid, without a lookup.
fn unsolicited(uid: &str) -> Vec<RawRecord> {
    let nothing = RawRecord::tombstone(uid);
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let other = order_version(uid, 66);
    vec![
        RawRecord::new(uid, other.to_string()),
        forged(uid, &other),
        forged(uid, &other).header("correlation-id", id),
        forged(uid, &other).header("correlation-id", "garbage"),
        forged(uid, &other).header("correlation-id", b"\xff".to_vec()),
        forged(uid, &other).header("behind", "-1"),
        RawRecord::new(uid, "garbage"),
        RawRecord::new(uid, "[]"),
        RawRecord::new(uid, ""),
        RawRecord::new(uid, "{\"order_uid\":"),
        RawRecord::new(uid, "x".repeat(900_000)),
        RawRecord::new(b"\xff\xfe".to_vec(), other.to_string()),
        RawRecord {
            key: None,
            ..forged(uid, &other)
        },
        nothing.clone(),
        nothing.clone().header("correlation-id", id),
        nothing
            .header("dead-lettered", "\u{1b}[31m/0/0")
            .header("correlation-id", id),
    ]
}

fn unsolicited_replies_change_nothing(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    let log = pipeline.env.log();
    let mut connection = pipeline.connect();
    let stored = RawRecord::version("stored", 3);
    pipeline.env.produce(&[stored]);
    pipeline.env.wait_until_applied();
    let body = order_version("cached", 5).to_string();
    let posted = connection.post("/orders", body.as_bytes());
    posted.expect("an answer").expect_status(202);
    assert_eq!(get(&mut connection, "never").status, 404);

    let uids = ["stored", "cached", "never", "none"];
    let replies: Vec<RawRecord> = uids.into_iter().flat_map(unsolicited).collect();
    log.produce(&pipeline.env.found_topic(), &replies);
    // The API has read all of them when it receives this reply.
    assert_eq!(get(&mut connection, "after-them").status, 404);
    let mut findings = Findings::default();
    for (uid, version) in [("stored", 3), ("cached", 5)] {
        let answer = get(&mut connection, uid);
        let mut checks = findings.of(uid);
        let found = (answer.status, answer.json());
        checks.equal("GET", found, (200, order_version(uid, version)));
        checks.equal("order-behind", answer.header("order-behind"), None);
    }
    for uid in ["never", "none"] {
        let answer = get(&mut connection, uid);
        findings.of(uid).problem(&answer, 404, "no-such-order");
    }
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}

fn a_pending_lookup_accepts_only_its_own_reply(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    let log = pipeline.env.log();
    pipeline.env.produce(&[RawRecord::order("stored")]);
    pipeline.env.wait_until_applied();
    // An instance that did not follow the order, and waits long enough for the lookup.
    pipeline.api.stop();
    pipeline.api = pipeline
        .env
        .serve_api()
        .without_warm_up()
        .env("LOOKUP_WAIT_MS", "20000")
        .start();
    pipeline.consumer.freeze();
    let uids = ["stored", "absent"];
    let urls = uids.map(|uid| format!("{}/api/order/{uid}", pipeline.api.url()));
    let waiting = urls.map(|url| thread::spawn(move || http::get(&url)));
    wait_until("both lookups in the topic", TIMEOUT, || {
        let lookups = log.read_all(&pipeline.env.lookup_topic());
        let is_there = |uid: &str| lookups.iter().any(|lookup| lookup.key_text() == uid);
        is_there("stored") && is_there("absent")
    });
    let mut replies: Vec<RawRecord> = uids.into_iter().flat_map(unsolicited).collect();
    // A reply of go-orders has no correlation id, and is accepted for a second.
    let has_id = |reply: &RawRecord| {
        reply
            .headers
            .iter()
            .any(|(name, _)| name == "correlation-id")
    };
    replies.retain(has_id);
    log.produce(&pipeline.env.found_topic(), &replies);
    pipeline.consumer.thaw();

    let [stored, absent] = waiting.map(|each| each.join().expect("an answer"));
    assert_eq!(stored.expect_status(200).json(), order("stored"));
    assert_eq!(absent.expect_status(404).json()["type"], "no-such-order");
    pipeline.assert_works();
}
