//! Malformed, expired and oversized lookups are dropped and counted, and delay neither orders nor other
//! lookups. Uids that the API would not accept are looked up.

use std::time::{SystemTime, UNIX_EPOCH};

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;
use support::{Engines, TIMEOUT, eventually, http};

use super::{Findings, World, get, metric};

on_both_engines! {
    [
        malformed_lookups_are_dropped_and_counted_and_stop_nothing,
        a_uid_stored_by_another_program_is_looked_up_as_decoded_from_the_path,
    ]
}

const DROPPED: &str = "orders_consumer_lookups_dropped_total";

fn now_us() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_micros() as i128
}

/// Lookups that must be dropped.
fn bad_lookups() -> Vec<RawRecord> {
    let asked = |uid: &[u8]| RawRecord::new(uid, uid);
    let with_deadline =
        |deadline: i128| RawRecord::new("stale", "stale").header("deadline", deadline.to_string());
    let stale = RawRecord {
        timestamp: Some(1_000),
        ..RawRecord::new("old", "old")
    };
    vec![
        RawRecord::default(),
        asked(b""),
        asked(b"\xff\xfe"),
        asked(b"a\r\nb"),
        asked(b"\x1b[31mred"),
        asked(b"\0"),
        asked("\u{9b}31m".as_bytes()),
        asked(&[b'a'; 513]),
        asked(&[b'a'; 500_000]),
        RawRecord::new("key", order("a-whole-order").to_string().repeat(2)),
        with_deadline(now_us() - 1_000_000),
        with_deadline(0),
        with_deadline(-1),
        stale,
        asked(b"many").header("x", vec![b'x'; 500_000]),
        (0..200).fold(asked(b"many"), |lookup, _| {
            lookup.header("correlation-id", "1234567890")
        }),
    ]
}

fn malformed_lookups_are_dropped_and_counted_and_stop_nothing(engines: &Engines) {
    let mut world = World::start(*engines, 1);
    let before = metric(&world.consumer, DROPPED);
    let mut bad = bad_lookups();
    // The embedded log dates its records itself.
    bad.retain(|lookup| *engines == Engines::Servers || lookup.timestamp.is_none());
    let log = world.env.log();
    log.produce(&world.env.lookup_topic(), &bad);
    eventually("the bad lookups are counted", TIMEOUT, || {
        (metric(&world.consumer, DROPPED) == before + bad.len() as u64).then_some(())
    });
    // Unusual, and still valid lookups.
    let far = RawRecord::new("far", "far").header("deadline", i64::MAX.to_string());
    let garbled = RawRecord::new("garbled", "garbled")
        .header("deadline", "soon")
        .header("correlation-id", b"\xff\xff".to_vec());
    let by_key = RawRecord {
        key: Some(b"by-key".to_vec()),
        ..RawRecord::default()
    };
    let flood = (0..2_000).map(|number| RawRecord::new("k", format!("nobody-{number}")));
    let odd: Vec<RawRecord> = flood.chain([far, garbled, by_key]).collect();
    log.produce(&world.env.lookup_topic(), &odd);

    let mut connection = world.connect();
    let posted = connection.post("/orders", order("meanwhile").to_string().as_bytes());
    assert_eq!(posted.expect("it answers").status, 202);
    assert_eq!(get(&mut connection, "nobody").status, 404);
    let answers = eventually("every odd lookup is answered", TIMEOUT, || {
        let mut answers = log.read_all(&world.env.found_topic());
        answers.retain(|answer| answer.key_text() != "nobody");
        (answers.len() >= odd.len()).then_some(answers)
    });
    assert_eq!(answers.len(), odd.len(), "one answer each");
    assert!(
        answers.iter().all(|answer| answer.value.is_none()),
        "nobody has such a uid"
    );
    for uid in ["far", "garbled", "by-key", "nobody-0", "nobody-1999"] {
        assert!(
            answers.iter().any(|answer| answer.key_text() == uid),
            "{uid} is not answered"
        );
    }
    assert_eq!(metric(&world.consumer, DROPPED), before + bad.len() as u64);

    let mut findings = Findings::default();
    world.look_at_logs(&mut findings);
    findings.report();
    world.still_works();
}

fn a_uid_stored_by_another_program_is_looked_up_as_decoded_from_the_path(engines: &Engines) {
    let world = World::start(*engines, 1);
    let uids = [
        ("a%2Fb%3fc%23d", "a/b?c#d"),
        ("%2e%2e", ".."),
        ("%20blank%20", " blank "),
        ("caf%C3%A9", "caf\u{e9}"),
        ("cafe%CC%81", "cafe\u{301}"),
        ("%25ff", "%ff"),
        ("%3Cscript%3E", "<script>"),
        ("a+b", "a+b"),
    ];
    let mut db = world.env.db();
    for (_, uid) in uids {
        db.run(&format!(
            "INSERT INTO orders (order_uid, track_number) VALUES ('{uid}', '{uid}')"
        ));
    }
    let mut connection = world.connect();
    for (path, uid) in uids {
        let answer = get(&mut connection, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["order_uid"], uid, "{path}");
        assert_eq!(answer.json()["track_number"], uid, "{path}");
    }
    // Another character, although it looks the same.
    assert_eq!(get(&mut connection, "CAF%C3%A9").status, 404);
    assert_eq!(get(&mut connection, "blank").status, 404);
    let literal = http::get(&format!("{}/api/order/a/b%3fc%23d", world.api.url()));
    assert_eq!(
        (literal.status, &literal.json()["type"]),
        (404, &"no-such-path".into())
    );
}
