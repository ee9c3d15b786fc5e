//! `orders trace`: where an order is, whatever part is away.

use std::time::{Duration, Instant};

use orders::pipeline::partition_of;
use serde_json::json;
use support::kafka::RawRecord;
use support::orders::order_version;
use support::process::Output;
use support::{Engines, Env, on_both_engines};

/// Nothing listens on port 1.
const NO_API: &str = "http://127.0.0.1:1";

on_both_engines! {
    [
        a_stored_order_is_shown_from_the_log_to_the_cache,
        an_order_that_waits_a_dead_one_and_an_unknown_one_are_told_apart,
    ]
}

/// That version, accepted so many seconds after the epoch.
fn version(uid: &str, version: u32) -> RawRecord {
    let accepted_at = format!("{version}000000");
    RawRecord::version(uid, version).header("accepted-at", accepted_at)
}

fn trace(env: &Env, api: &str, args: &[&str]) -> Output {
    let trace = env.orders(&["trace"]).env("ORDERS_API_URL", api);
    args.iter().fold(trace, |trace, arg| trace.arg(arg)).run()
}

/// Two versions of an order and a record that is none, applied.
fn filled(engines: Engines) -> Env {
    let env = engines.ready();
    env.produce(&[
        version("a", 1),
        version("a", 2),
        RawRecord::new("x", "{").header("accepted-at", "3000000"),
    ]);
    let mut consumer = env.consumer();
    env.wait_until_applied();
    consumer.stop();
    env
}

fn a_stored_order_is_shown_from_the_log_to_the_cache(engines: &Engines) {
    let env = filled(*engines);
    let (api, _consumer) = (env.serve_api().without_warm_up().start(), env.consumer());
    let (topic, url) = (env.topic(), api.url());
    let found = trace(&env, &url, &["a"]).succeeds();
    let shown = |records: &str, log: &str, cached: &str| {
        format!(
            "a: stored, in its newest version\n\
             record  accepted at           fate{records}\
             part      says\n\
             log       {topic}/0 {log}\n\
             database  stored from 0@1, accepted at 1970-01-01T00:00:02Z\n\
             api       {url}: {cached}\n"
        )
    };
    let stored = "    because\n0@1     1970-01-01T00:00:02Z  stored  -\n";
    let applied = "is applied up to its end 3";
    found.prints(&shown(stored, applied, "not in the cache"), "");

    api.get_order("a").expect_status(200);
    let found = trace(&env, &url, &["a", "--scan"]).succeeds();
    let both = "           because\n\
                0@0     1970-01-01T00:00:01Z  older version  -\n\
                0@1     1970-01-01T00:00:02Z  stored         -\n";
    found.prints(
        &shown(both, "read from 0 to its end 3", "cached from 0@1"),
        "",
    );

    let document = trace(&env, &url, &["a", "--output", "json"]);
    let expected = json!({
        "order_uid": "a",
        "state": "stored",
        "records": [{
            "partition": 0, "offset": 1, "accepted_at": "1970-01-01T00:00:02Z",
            "fate": "stored", "reason": null,
        }],
        "stored": {"partition": 0, "offset": 1, "accepted_at": "1970-01-01T00:00:02Z"},
        "erased": null,
        "cache": [
            {"url": url, "cached": true, "partition": 0, "offset": 1, "unverified": false},
        ],
        "read": [{"partition": 0, "from": 3, "to": 3, "end": 3}],
        "away": [],
    });
    assert_eq!(document.succeeds().json(), expected);
}

fn an_order_that_waits_a_dead_one_and_an_unknown_one_are_told_apart(engines: &Engines) {
    let env = filled(*engines);
    env.produce(&[version("b", 4), version("a", 5)]);
    let found = trace(&env, NO_API, &["a"]).exits(4);
    let (topic, away) = (
        env.topic(),
        "no connection to the API at `http://127.0.0.1:1`: ",
    );
    let expected = format!(
        "a: waiting to be applied\n\
         record  accepted at           fate     because\n\
         0@1     1970-01-01T00:00:02Z  stored   -\n\
         0@4     1970-01-01T00:00:05Z  waiting  1 offsets before it are to be applied first\n\
         part      says\n\
         log       {topic}/0 read from 3 to its end 5\n\
         database  stored from 0@1, accepted at 1970-01-01T00:00:02Z\n\
         api       {away}"
    );
    let found = found.stdout;
    assert!(found.starts_with(&expected), "{found}");

    let dead = trace(&env, NO_API, &["x"]).exits(3).stdout;
    let refused = "x: dead: its newest record could not become an order\n\
                   record  accepted at           fate         because\n\
                   0@2     1970-01-01T00:00:03Z  dead letter  not one JSON document: ";
    assert!(dead.starts_with(refused), "{dead}");
    let unknown = trace(&env, NO_API, &["nobody"]).exits(3).stdout;
    assert!(unknown.starts_with("nobody: unknown\n"), "{unknown}");
}

#[test]
fn a_part_that_is_away_is_a_line_of_the_answer_within_two_seconds() {
    let env = filled(Engines::Servers);
    let nowhere = "postgresql://me@127.0.0.1:1/orders";
    for (brokers, database, state, exit) in [
        (None, None, "stored", 0),
        (Some("127.0.0.1:1"), None, "unconfirmed", 4),
        (None, Some(nowhere), "unconfirmed", 4),
        (Some("127.0.0.1:1"), Some(nowhere), "unconfirmed", 5),
    ] {
        let trace = env.orders(&["trace", "a", "--output", "json"]);
        let trace = trace.env("ORDERS_API_URL", NO_API);
        let trace = trace.env("KAFKA_BROKERS", brokers.unwrap_or(&env.brokers));
        let trace = trace.env("DB_URL", database.unwrap_or(&env.db_url));
        let began = Instant::now();
        let document = trace.run().exits(exit).json();
        let elapsed = began.elapsed();
        assert!(elapsed < Duration::from_millis(2_500), "{elapsed:?}");
        assert_eq!(document["state"], state, "{document}");
        let away = document["away"].as_array().expect("a list");
        let away: Vec<_> = away.iter().filter_map(|it| it["part"].as_str()).collect();
        let is_away = [("log", brokers), ("database", database), ("api", Some(""))];
        let expected = is_away.iter().filter(|(_, value)| value.is_some());
        let expected: Vec<_> = expected.map(|(part, _)| *part).collect();
        assert_eq!(away, expected, "{document}");
    }
}

#[test]
fn kafka_has_each_order_in_the_partition_where_trace_looks() {
    let env = Env::with_partitions(7);
    let api = env.api();
    let lines: String = (0..40)
        .map(|number| format!("{}\n", order_version(&format!("key-{number}"), 1)))
        .collect();
    let send = env.orders(&["send", "-", "--api-url", &api.url()]);
    send.stdin(lines).run().succeeds();
    let records = env.log().read_all(&env.topic());
    assert_eq!(records.len(), 40);
    for record in records {
        let key = record.key_text();
        let expected = partition_of(key.as_bytes(), 7).cast_signed();
        assert_eq!(record.partition, expected, "{key}");
    }
}
