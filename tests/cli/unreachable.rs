//! An unreachable server: exit code 5, the attempt, and a hint.

use super::command::orders;

/// Nothing listens on port 1.
const NOWHERE: &str = "postgresql://me@127.0.0.1:1/orders";

#[test]
fn a_database_that_is_away_is_5_and_says_where_and_what_to_do() {
    let ran = orders("migrate --wait 0s").env("DB_URL", NOWHERE).run();
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(5), ""));
    let start = "error: no response from the database `127.0.0.1:1/orders` within 0 s: ";
    assert!(ran.stderr.starts_with(start), "{}", ran.stderr);
    assert!(ran.stderr.contains("Connection refused"), "{}", ran.stderr);
    let hint = "hint: start it, name another in DB_URL, or wait longer with --wait\n";
    assert!(ran.stderr.ends_with(hint), "{}", ran.stderr);
}

#[test]
fn the_wait_for_a_database_is_logged_and_silenced_by_quiet() {
    let waiting = "waiting for the database `127.0.0.1:1/orders`, up to ";
    let ran = orders("migrate --wait 1s").env("DB_URL", NOWHERE).run();
    assert_eq!(ran.status, Some(5));
    assert!(ran.stderr.starts_with(waiting), "{}", ran.stderr);
    let ran = orders("migrate --wait 1s -q").env("DB_URL", NOWHERE).run();
    assert_eq!(ran.status, Some(5));
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[test]
fn a_kafka_that_is_away_is_5_and_with_json_still_one_document() {
    let ran = orders("create-topics --wait 0s --output json --brokers 127.0.0.1:1").run();
    assert_eq!(ran.status, Some(5));
    let document = ran.json();
    assert_eq!(document["exit_code"], 5);
    let error = document["error"].as_str().unwrap();
    assert!(
        error.starts_with("no response from Kafka at `127.0.0.1:1`"),
        "{error}"
    );
}
