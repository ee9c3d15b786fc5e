//! An unreachable server: exit code 5, the attempt, and a hint.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::process::orders;

/// Nothing listens on port 1.
const NOWHERE: &str = "postgresql://me@127.0.0.1:1/orders";

#[test]
fn an_unreachable_database_is_5_with_its_address_and_a_hint() {
    let ran = orders("migrate --wait 0s").env("DB_URL", NOWHERE).run();
    let ran = ran.exits(5).reports("Connection refused");
    assert_eq!(ran.stdout, "");
    let start = "error: no response from the database `127.0.0.1:1/orders`: ";
    assert!(ran.stderr.starts_with(start), "{}", ran.stderr);
    let hint = "hint: start it, name another in DB_URL, or wait longer with --wait\n";
    assert!(ran.stderr.ends_with(hint), "{}", ran.stderr);
}

#[test]
fn the_wait_for_a_database_is_logged_and_silenced_by_quiet() {
    let waiting = "waiting for the database `127.0.0.1:1/orders`, up to ";
    for (flag, start) in [("", waiting), ("-q", "error: ")] {
        let migrate = orders(&format!("migrate --wait 1s {flag}"));
        let ran = migrate.env("DB_URL", NOWHERE).run().exits(5);
        assert!(ran.stderr.starts_with(start), "{}", ran.stderr);
    }
}

#[test]
fn an_unreachable_kafka_is_5_and_with_json_still_one_document() {
    let ran = orders("create-topics --wait 0s --output json --brokers 127.0.0.1:1").run();
    let document = ran.exits(5).json();
    assert_eq!(document["exit_code"], 5);
    let error = document["error"].as_str().unwrap();
    let start = "no response from Kafka at `127.0.0.1:1`";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn a_check_of_a_server_that_is_away_ends_without_waiting() {
    // Accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    for (command, variable, value) in [
        ("migrate --status", "DB_URL", NOWHERE.to_owned()),
        (
            "migrate --status",
            "DB_URL",
            format!("postgresql://me@{silent}/orders"),
        ),
        (
            "create-topics --check",
            "KAFKA_BROKERS",
            "127.0.0.1:1".to_owned(),
        ),
        ("create-topics --check", "KAFKA_BROKERS", silent.to_string()),
    ] {
        let started = Instant::now();
        orders(command).env(variable, &value).run().exits(5);
        let elapsed = started.elapsed();
        assert!(
            elapsed < Duration::from_millis(2_500),
            "{command} {value}: {elapsed:?}"
        );
    }
}
