//! Forged, late and unsolicited replies to lookups: GET answers as it would without them.

use std::thread;

use serde_json::{Value, json};
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually, http};

use super::{Findings, World, get};

on_both_engines! {
    [
        unsolicited_replies_change_nothing,
        a_pending_lookup_accepts_only_its_own_reply,
    ]
}

/// An answer with all headers that a true one has; its accept time is later than any order's.
fn forged(uid: &str, order: &Value) -> RawRecord {
    RawRecord::new(uid, order.to_string())
        .header("source", "AAAAAAAAAAAAAAAAAAAAAA/0/900000")
        .header("accepted-at", "253402300799999999")
}

/// Answers of every kind for one uid, none of which was asked for.
fn unasked(uid: &str) -> Vec<RawRecord> {
    let nothing = RawRecord {
        key: Some(uid.into()),
        ..RawRecord::default()
    };
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let lie = order_version(uid, 66);
    vec![
        RawRecord::new(uid, lie.to_string()),
        forged(uid, &lie),
        forged(uid, &lie).header("correlation-id", id),
        forged(uid, &lie).header("correlation-id", "garbage"),
        forged(uid, &lie).header("correlation-id", b"\xff".to_vec()),
        forged(uid, &lie).header("behind", "-1"),
        RawRecord::new(uid, "garbage"),
        RawRecord::new(uid, "[]"),
        RawRecord::new(uid, ""),
        RawRecord::new(uid, "{\"order_uid\":"),
        RawRecord::new(uid, "x".repeat(900_000)),
        RawRecord::new(b"\xff\xfe".to_vec(), lie.to_string()),
        RawRecord {
            key: None,
            ..forged(uid, &lie)
        },
        nothing.clone(),
        nothing.clone().header("correlation-id", id),
        nothing
            .header("dead-lettered", "\u{1b}[31m/0/0")
            .header("correlation-id", id),
    ]
}

fn unsolicited_replies_change_nothing(engines: &Engines) {
    let mut world = World::start(*engines, 1);
    let log = world.env.log();
    let mut connection = world.connect();
    let stored = RawRecord::new("stored", order_version("stored", 3).to_string());
    log.produce(&world.env.topic(), &[stored]);
    world.env.wait_until_applied();
    let body = order_version("cached", 5).to_string();
    let posted = connection.post("/orders", body.as_bytes());
    assert_eq!(posted.expect("it answers").status, 202);
    assert_eq!(get(&mut connection, "never").status, 404);

    let uids = ["stored", "cached", "never", "none"];
    let answers: Vec<RawRecord> = uids.into_iter().flat_map(unasked).collect();
    log.produce(&world.env.found_topic(), &answers);
    // After all of them: the API has read them when it receives this reply.
    assert_eq!(get(&mut connection, "behind-them").status, 404);
    let mut findings = Findings::default();
    for (uid, version) in [("stored", 3), ("cached", 5)] {
        let answer = get(&mut connection, uid);
        findings.equal(
            uid,
            "GET",
            (answer.status, answer.json()),
            (200, order_version(uid, version)),
        );
        findings.equal(
            uid,
            "whether it is behind",
            answer.header("order-behind"),
            None,
        );
    }
    for uid in ["never", "none"] {
        let answer = get(&mut connection, uid);
        findings.equal(
            uid,
            "GET",
            (answer.status, &answer.json()["type"]),
            (404, &json!("no-such-order")),
        );
    }
    world.look_at_logs(&mut findings);
    findings.report();
    world.still_works();
}

fn a_pending_lookup_accepts_only_its_own_reply(engines: &Engines) {
    let mut world = World::start(*engines, 1);
    let log = world.env.log();
    log.produce(
        &world.env.topic(),
        &[RawRecord::new("asked", order("asked").to_string())],
    );
    world.env.wait_until_applied();
    // An instance that did not see it come, and that waits as long as it takes.
    world.api.stop();
    world.api = world
        .env
        .serve_api()
        .env("CACHE_LOAD_LIMIT", "0")
        .env("LOOKUP_WAIT_MS", "20000")
        .start();
    world.consumer.freeze();
    let urls = ["asked", "nobody"].map(|uid| format!("{}/api/order/{uid}", world.api.url()));
    let waiting = urls.map(|url| thread::spawn(move || http::get(&url)));
    eventually("both lookups in the topic", TIMEOUT, || {
        let lookups = log.read_all(&world.env.lookup_topic());
        let is_there = |uid: &str| lookups.iter().any(|lookup| lookup.key_text() == uid);
        (is_there("asked") && is_there("nobody")).then_some(())
    });
    let others = ["asked", "nobody"].map(|uid| {
        let all = unasked(uid).into_iter();
        // Without an id it is go-orders' answer, which is believed for a second.
        all.filter(|answer| {
            answer
                .headers
                .iter()
                .any(|(name, _)| name == "correlation-id")
        })
    });
    let others: Vec<RawRecord> = others.into_iter().flatten().collect();
    log.produce(&world.env.found_topic(), &others);
    world.consumer.thaw();

    let [asked, nobody] = waiting.map(|each| each.join().expect("an answer"));
    assert_eq!((asked.status, asked.json()), (200, order("asked")));
    assert_eq!(
        (nobody.status, &nobody.json()["type"]),
        (404, &json!("no-such-order"))
    );
    world.still_works();
}
