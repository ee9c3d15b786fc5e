//! Forged, late and unsolicited replies to lookups: GET answers as it would without them.

use std::thread;

use serde_json::Value;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, http, wait_until};

use super::{Findings, Pipeline, get};

on_both_engines! {
    [
        unsolicited_replies_change_nothing,
        a_pending_lookup_accepts_only_its_own_reply,
    ]
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
