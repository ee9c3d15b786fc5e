//! Malformed, expired and oversized lookups are dropped and counted, and delay neither orders nor other
//! lookups. Uids that the API would not accept are looked up.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;
use support::{Engines, TIMEOUT, eventually, wait_until};

use super::{Findings, Pipeline, get};

on_both_engines! {
    [
        malformed_lookups_are_dropped_and_counted_and_stop_nothing,
        a_uid_stored_by_another_program_is_looked_up_as_decoded_from_the_path,
        a_flood_of_lookups_is_a_few_log_lines_and_a_count,
        a_uid_cannot_forge_a_field_of_a_log_line,
    ]
}

const DROPPED: &str = "orders_consumer_lookups_dropped_total";

fn now_us() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_micros() as i128
}

/// Lookups that must be dropped.
fn bad_lookups() -> Vec<RawRecord> {
    let lookup = |uid: &[u8]| RawRecord::new(uid, uid);
    let with_deadline =
        |deadline: i128| RawRecord::new("stale", "stale").header("deadline", deadline.to_string());
    let stale = RawRecord {
        timestamp: Some(1_000),
        ..RawRecord::new("old", "old")
    };
    vec![
        RawRecord::default(),
        lookup(b""),
        lookup(b"\xff\xfe"),
        lookup(b"a\r\nb"),
        lookup(b"\x1b[31mred"),
        lookup(b"\0"),
        lookup("\u{9b}31m".as_bytes()),
        lookup(&[b'a'; 513]),
        lookup(&[b'a'; 500_000]),
        RawRecord::new("key", order("a-whole-order").to_string().repeat(2)),
        with_deadline(now_us() - 1_000_000),
        with_deadline(0),
        with_deadline(-1),
        stale,
        lookup(b"many").header("x", vec![b'x'; 500_000]),
        (0..200).fold(lookup(b"many"), |record, _| {
            record.header("correlation-id", "1234567890")
        }),
    ]
}

fn malformed_lookups_are_dropped_and_counted_and_stop_nothing(engines: &Engines) {
    let mut pipeline = Pipeline::start(*engines, 1);
    let before = pipeline.consumer.metric(DROPPED);
    let mut bad = bad_lookups();
    // The embedded log sets the timestamps of its records itself.
    bad.retain(|lookup| *engines == Engines::Servers || lookup.timestamp.is_none());
    let log = pipeline.env.log();
    log.produce(&pipeline.env.lookup_topic(), &bad);
    wait_until("the bad lookups to be counted", TIMEOUT, || {
        pipeline.consumer.metric(DROPPED) == before + bad.len() as u64
    });
    // Unusual but valid lookups.
    let far = RawRecord::new("far", "far").header("deadline", i64::MAX.to_string());
    let garbled = RawRecord::new("garbled", "garbled")
        .header("deadline", "soon")
        .header("correlation-id", b"\xff\xff".to_vec());
    let by_key = RawRecord::tombstone("by-key");
    let many = (0..2_000).map(|number| RawRecord::new("k", format!("nobody-{number}")));
    let unusual: Vec<RawRecord> = many.chain([far, garbled, by_key]).collect();
    log.produce(&pipeline.env.lookup_topic(), &unusual);

    let mut connection = pipeline.connect();
    let posted = connection.post("/orders", order("meanwhile").to_string().as_bytes());
    posted.expect("an answer").expect_status(202);
    assert_eq!(get(&mut connection, "nobody").status, 404);
    let answers = eventually("replies to all unusual lookups", TIMEOUT, || {
        let mut answers = log.read_all(&pipeline.env.found_topic());
        answers.retain(|answer| answer.key_text() != "nobody");
        (answers.len() >= unusual.len()).then_some(answers)
    });
    assert_eq!(answers.len(), unusual.len(), "one answer each");
    assert!(answers.iter().all(|answer| answer.value.is_none()));
    for uid in ["far", "garbled", "by-key", "nobody-0", "nobody-1999"] {
        let is_answered = answers.iter().any(|answer| answer.key_text() == uid);
        assert!(is_answered, "{uid}");
    }
    assert_eq!(pipeline.consumer.metric(DROPPED), before + bad.len() as u64);

    let mut findings = Findings::default();
    pipeline.check_logs(&mut findings);
    findings.report();
    pipeline.assert_works();
}

fn a_uid_stored_by_another_program_is_looked_up_as_decoded_from_the_path(engines: &Engines) {
    let pipeline = Pipeline::start(*engines, 1);
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
    let mut db = pipeline.env.db();
    for (_, uid) in uids {
        db.run(&format!(
            "INSERT INTO orders (order_uid, track_number) VALUES ('{uid}', '{uid}')"
        ));
    }
    let mut connection = pipeline.connect();
    for (path, uid) in uids {
        let order = get(&mut connection, path).expect_status(200).json();
        assert_eq!(
            (&order["order_uid"], &order["track_number"]),
            (&uid.into(), &uid.into())
        );
    }
    // Another character, although it looks the same.
    assert_eq!(get(&mut connection, "CAF%C3%A9").status, 404);
    assert_eq!(get(&mut connection, "blank").status, 404);
    let literal = get(&mut connection, "a/b%3fc%23d").expect_status(404);
    assert_eq!(literal.json()["type"], "no-such-path");
}

fn a_flood_of_lookups_is_a_few_log_lines_and_a_count(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    let flood = (0..2_000).map(|number| RawRecord::new("k", format!("nobody-{number}")));
    let flood: Vec<RawRecord> = flood.collect();
    let start = Instant::now();
    env.log().produce(&env.lookup_topic(), &flood);
    wait_until("a reply to each", TIMEOUT, || {
        env.log().ends(&env.found_topic()) == [2_000]
    });
    consumer.wait_for_line("more lookups received within a second");
    // Four for each of the first ten in a second.
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("they are few") + 2;
    let lines = consumer.lines();
    let lines = lines.iter().filter(|line| line.contains("nobody-")).count();
    assert!(lines <= 40 * seconds, "{lines} lines in {seconds} s");
}

fn a_uid_cannot_forge_a_field_of_a_log_line(engines: &Engines) {
    let pipeline = Pipeline::start(*engines, 1);
    let mut connection = pipeline.connect();
    let path = "a%20b=c%20level=ERROR%20msg=%22forged%22%E2%80%AE%E2%80%A8";
    assert_eq!(get(&mut connection, path).status, 404);
    let quoted = r#"order_uid="a b=c level=ERROR msg=\"forged\"\u{202e}\u{2028}""#;
    for line in ["LOOKUP RECEIVED", "DB QUERY", "DB MISS"] {
        let line = pipeline.consumer.wait_for_line(line);
        assert!(line.contains(quoted), "{line}");
    }
    let line = pipeline.consumer.wait_for_line("published order-found for");
    assert!(line.contains("order-found for \"a b=c level"), "{line}");
}
