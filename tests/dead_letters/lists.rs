//! `list` and `show`, to the letter.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Engines, Env, on_both_engines};

use super::{WRONG, dead_letters, run, wrong};

on_both_engines! {
    [
        dead_letters_are_listed_by_reason_or_each,
        one_is_shown_with_its_fault_and_without_personal_data,
        a_hundred_thousand_are_listed_in_seconds,
    ]
}

const EMPTY: &str = "not one JSON document: the document is empty";

/// Three dead letters, at the same time.
fn three(engines: &Engines) -> Env {
    let env = engines.ready();
    let values = [("a", wrong("a")), ("b", wrong("b")), ("c", String::new())];
    dead_letters(&env, &values);
    env.db().run(
        "UPDATE dead_letters SET accepted_at = '2026-11-28T09:00:00.000000Z',
             dead_at = '2026-11-28T10:00:00.000000Z'",
    );
    env
}

fn dead_letters_are_listed_by_reason_or_each(engines: &Engines) {
    let env = three(engines);
    let (at, width) = ("2026-11-28T10:00:00Z", WRONG.len());
    let table = format!(
        "count  newest                {:width$}  ids\n2      {at}  {WRONG}  1 2\n\
         1      {at}  {EMPTY:width$}  3\n",
        "reason"
    );
    for arguments in ["", "list", "list --since 2026-11-28"] {
        run(&env, arguments).succeeds().prints(&table, "");
    }
    let json = run(&env, "--output json").succeeds().json();
    let expected = json!({"open": 3, "groups": [
        {"reason": WRONG, "count": 2, "ids": [1, 2], "newest": at},
        {"reason": EMPTY, "count": 1, "ids": [3], "newest": at},
    ]});
    assert_eq!(json, expected);

    env.db()
        .run("UPDATE dead_letters SET resolution = 'retried', resolved_at = dead_at WHERE id = 2");
    let topic = env.topic();
    let width = topic.len() + 4;
    let each = format!(
        "id  {:width$}  key  order  state  dead at               reason\n\
         1   {topic}/0/0  a    a      open   {at}  {WRONG}\n\
         3   {topic}/0/2  c           open   {at}  {EMPTY}\n",
        "record"
    );
    run(&env, "list --each").succeeds().prints(&each, "");
    let json = run(&env, "--each --state all --output json")
        .succeeds()
        .json();
    let letter = |id: i64, key: &str, uid: Value, reason: &str, state: &str| {
        json!({
            "id": id, "topic": topic, "partition": 0, "offset": id - 1, "key": key,
            "order_uid": uid, "reason": reason, "dead_at": at, "state": state,
        })
    };
    let expected = json!({"dead_letters": [
        letter(1, "a", "a".into(), WRONG, "open"),
        letter(2, "b", "b".into(), WRONG, "retried"),
        letter(3, "c", Value::Null, EMPTY, "open"),
    ]});
    assert_eq!(json, expected);

    let ids = |arguments: &str| {
        let json = run(&env, &format!("list --each --output json {arguments}"))
            .succeeds()
            .json();
        let letters = json["dead_letters"].as_array().expect("an array").clone();
        letters
            .iter()
            .map(|it| it["id"].as_i64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("--reason sm_id"), [1]);
    assert_eq!(ids("--state resolved --reason ^not.a.valid"), [2]);
    assert_eq!(ids("--uid a"), [1]);
    assert_eq!(ids("--key c"), [3]);
    assert_eq!(ids("--partition 1"), [0; 0]);
    assert_eq!(ids("--until 2026-11-28"), [0; 0]);
    let none = run(&env, "list --uid nobody").succeeds();
    none.prints("", "there are no such dead letters\n");
    run(&env, "list --reason (").exits(2);
}

fn one_is_shown_with_its_fault_and_without_personal_data(engines: &Engines) {
    let env = three(engines);
    let (topic, at) = (env.topic(), "2026-11-28T10:00:00Z");
    let document = wrong("a");
    let digest: String = Sha256::digest(&document)
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    let bytes = document.len();
    let shown = format!(
        "dead letter  1
record       {topic}/0/0
key          a
order        a
reason       {WRONG}
accepted at  2026-11-28T09:00:00Z
dead at      {at}
state        open
bytes        {bytes}
SHA-256      {digest}

{{
  \"order_uid\": \"a\",
  \"sm_id\": \"x\",   <-- must be a whole number between -2147483648 and 2147483647
  \"delivery\": {{
    \"name\": \"***\"
  }},
  \"date_created\": \"2021-11-26T06:22:19Z\"
}}
"
    );
    run(&env, "show 1").succeeds().prints(&shown, "");
    let revealed = shown.replace("***", "Test");
    run(&env, "show 1 --reveal")
        .succeeds()
        .prints(&revealed, "");
    let json = run(&env, "show 1 --output json").succeeds().json();
    let fault = json!({
        "pointer": "/sm_id",
        "message": "must be a whole number between -2147483648 and 2147483647",
    });
    assert_eq!(json["faults"], json!([fault]));
    assert_eq!(json["payload"]["delivery"]["name"], "***");
    assert_eq!(
        [&json["state"], &json["payload_sha256"]],
        ["open", &*digest]
    );
    run(&env, "show 4")
        .exits(3)
        .reports("error: there is no dead letter 4\n");
}

fn a_hundred_thousand_are_listed_in_seconds(engines: &Engines) {
    let env = three(engines);
    let payload = "x".repeat(1_000);
    let number = engines.select(
        "generate_series(10, 100009) AS n(number)",
        "(WITH RECURSIVE n(number) AS (SELECT 10 UNION ALL SELECT number + 1 FROM n
             WHERE number < 100009) SELECT number FROM n)",
    );
    let payload = engines.select(
        format!("'{payload}'::bytea"),
        format!("CAST('{payload}' AS BLOB)"),
    );
    env.db().run(&format!(
        "INSERT INTO dead_letters (position_id, epoch, topic, partition, \"offset\", payload,
             payload_bytes, order_uid, accepted_at, reason)
         SELECT 1, 1, 'orders', 0, number, {payload}, 1000, 'uid-' || number,
             '2026-11-28T09:00:00.000000Z', 'reason ' || (number % 7)
         FROM {number}"
    ));
    let began = std::time::Instant::now();
    let listed = run(&env, "list --output json").succeeds().json();
    let elapsed = began.elapsed();
    assert_eq!(listed["open"], 100_003);
    assert_eq!(listed["groups"].as_array().map(Vec::len), Some(9));
    let ids = listed["groups"][0]["ids"].as_array();
    assert_eq!(ids.map(Vec::len), Some(1_000), "bounded");
    let table = run(&env, "list --reason 0$").succeeds().stdout;
    assert!(
        table.ends_with(" … 14275 more\n") || table.ends_with(" … 14276 more\n"),
        "{table}"
    );
    println!("list of 100,003 dead letters: {elapsed:?}");
    assert!(elapsed < std::time::Duration::from_secs(5), "{elapsed:?}");
}
