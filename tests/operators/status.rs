//! `orders status`: a line a part, with the command that repairs it.

use std::time::Duration;

use serde_json::json;
use support::kafka::RawRecord;
use support::{
    Engines, Env, Orders, PrivateKafka, PrivatePostgres, on_both_engines, returns_within,
};

on_both_engines! {
    [
        every_part_of_a_healthy_system_is_a_line,
        a_missing_topic_and_a_pending_migration_name_their_commands,
        waiting_orders_without_a_consumer_fail_until_one_runs,
    ]
}

/// How long the command may take while a part is away.
const WITHIN: Duration = Duration::from_secs(2);

/// `orders status` where no API listens.
fn status<'e>(env: &'e Env, arguments: &[&str]) -> Orders<'e> {
    let status = env.orders(&[&["status"], arguments].concat());
    status.env("ORDERS_API_URL", "http://127.0.0.1:1")
}

/// The line of a part.
#[track_caller]
fn line<'o>(stdout: &'o str, part: &str) -> &'o str {
    let mut lines = stdout.lines();
    let line = lines.find(|line| line.get(6..).is_some_and(|line| line.starts_with(part)));
    line.unwrap_or_else(|| panic!("no part `{part}` in\n{stdout}"))
}

/// The text with every word replaced that begins like this: ids and sizes.
fn masked(text: &str, after: &[&str]) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut shown = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let is_masked = index > 0 && after.contains(&words[index - 1]);
        let end = if word.ends_with(',') { "," } else { "" };
        shown.push(if is_masked {
            format!("…{end}")
        } else {
            (*word).to_owned()
        });
    }
    shown.join(" ")
}

fn every_part_of_a_healthy_system_is_a_line(engines: &Engines) {
    let env = engines.ready();
    let (api, consumer) = (env.api(), env.consumer());
    api.accepts("a");
    env.wait_until_applied();
    let found = env.orders(&["status"]).run().succeeds();
    let topics = [env.topic(), env.lookup_topic(), env.found_topic()];
    let topics = format!(
        "topics `{}` (1), `{}` (1), `{}` (1)",
        topics[0], topics[1], topics[2]
    );
    let (database, log, who) = match engines {
        Engines::Servers => {
            let (_, name) = env.db_url.rsplit_once('@').expect("the URL names a user");
            (
                format!("`{name}`, PostgreSQL …, 4 migrations, none pending"),
                format!("1 broker, cluster …, {topics} as declared"),
                format!("1 member in group `{}`", env.group()),
            )
        }
        Engines::Embedded => {
            let (file, folder) = (env.store_file(), env.data_dir().display());
            let room = "WAL … MiB, … GiB free";
            (
                format!(
                    "`{}`, SQLite …, 4 migrations, none pending, {room}",
                    file.display()
                ),
                format!("folder `{folder}`, {topics} as declared, {room}"),
                format!("process {}", consumer.id()),
            )
        }
    };
    let (url, pid) = (api.url(), api.id());
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "ok    database     {database}\n\
         ok    log          {log}\n\
         ok    consumer     {who}; nothing waits\n\
         ok    api          {url} ready, {version}, up … s, cache 1 order, pid {pid}\n\
         ok    dead letters none open\n\
         ok    gaps         none that wait for a decision\n"
    );
    let masked = masked(
        &found.stdout,
        &["PostgreSQL", "SQLite", "cluster", "WAL", "MiB,", "up"],
    );
    assert_eq!((masked, found.stderr.as_str()), (expected, ""));

    // A consumer of this machine is found by its URL too, like one of another.
    let admin = consumer.admin_url();
    env.produce(&[RawRecord::new("broken", "not an order")]);
    env.wait_until_applied();
    let arguments = ["--admin", &admin, "--output", "json"];
    let document = env.orders(&[&["status"], &arguments[..]].concat());
    let document = document.run().succeeds().json();
    assert_eq!(document["healthy"], true);
    let parts = document["parts"].as_array().expect("a list");
    let names: Vec<_> = parts.iter().map(|part| &part["part"]).collect();
    let expected = [
        "database",
        "log",
        "consumer",
        "api",
        "service",
        "dead letters",
        "gaps",
    ];
    assert_eq!(names, expected);
    let service = json!({
        "part": "service", "state": "ok", "detail": format!("{admin} ready"), "fix": null,
    });
    assert_eq!(parts[4], service);
    let letters = parts[5].as_object().expect("a part");
    assert_eq!(
        (&letters["state"], &letters["fix"]),
        (&json!("warn"), &json!("orders dead-letters"))
    );
    let detail = letters["detail"].as_str().expect("a text");
    assert!(detail.starts_with("1 open, the newest "), "{detail}");
}

fn a_missing_topic_and_a_pending_migration_name_their_commands(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("DELETE FROM orders_migrations WHERE version = 4");
    let found = status(&env, &[]).run().exits(3);
    let database = line(&found.stdout, "database");
    assert!(database.starts_with("FAIL "), "{database}");
    let pending = match engines {
        Engines::Servers => ", 3 migrations, 1 pending   → orders migrate",
        Engines::Embedded => ", 3 migrations, 1 pending, WAL ",
    };
    assert!(database.contains(pending), "{database}");
    let log = line(&found.stdout, "log");
    let missing = format!(
        "; topic `{}` is missing; topic `{}` is missing; topic `{}` is missing   → orders create-topics",
        env.topic(),
        env.lookup_topic(),
        env.found_topic()
    );
    assert!(log.starts_with("FAIL ") && log.ends_with(&missing), "{log}");
    let api = "FAIL  api          http://127.0.0.1:1 failed: ";
    assert!(
        line(&found.stdout, "api").starts_with(api),
        "{}",
        found.stdout
    );
}

fn waiting_orders_without_a_consumer_fail_until_one_runs(engines: &Engines) {
    let env = engines.ready();
    let _api = env.api();
    let mut consumer = env.consumer();
    consumer.stop();
    let records = (0..200).map(|number| RawRecord::order(&format!("o-{number}")));
    env.produce(&records.collect::<Vec<_>>());
    let wait = ["status", "--wait-healthy", "1s"];
    let found = env.orders(&wait).run().exits(3);
    assert_eq!(found.stderr, "waiting for consumer\n");
    let who = engines.select(
        format!("no member in group `{}`", env.group()),
        "no process reads the log".to_owned(),
    );
    let expected =
        format!("FAIL  consumer     {who}; 200 orders wait, the oldest for … s   → orders consume");
    assert_eq!(masked(line(&found.stdout, "consumer"), &["for"]), expected);

    let waiting = env.orders(&["status", "--wait-healthy", "30s"]).spawn();
    waiting.wait_for_line("waiting for consumer");
    let _consumer = env.consume().spawn();
    let mut waiting = waiting;
    waiting.finished().succeeds();
}

#[test]
fn a_part_that_is_away_is_a_line_within_two_seconds() {
    let (mut kafka, mut postgres) = (PrivateKafka::start(), PrivatePostgres::start());
    let env = Env::on(&kafka.brokers(), &postgres.url()).prepared(1);
    let mut consumer = env.consumer();
    env.produce(&[RawRecord::order("a")]);
    env.wait_until_applied();
    consumer.stop();
    env.produce(&[RawRecord::order("b")]);
    let look = |exit| {
        let found = returns_within(WITHIN, || status(&env, &[]).run());
        found.exits(exit).stdout
    };

    postgres.freeze();
    let found = look(3);
    let database = line(&found, "database");
    assert!(database.starts_with("FAIL ") && database.contains("` did not answer within 800 ms "));
    assert!(line(&found, "log").starts_with("ok "), "{found}");
    let group = env.group();
    let waits = format!("no member in group `{group}`; 1 order waits, the oldest for ");
    let consumer = line(&found, "consumer");
    assert!(consumer.contains(&waits), "{consumer}");
    assert!(
        consumer.ends_with(" by the offsets of the group   → orders consume"),
        "{consumer}"
    );
    for part in ["dead letters", "gaps"] {
        let start =
            format!("warn  {part:<12} not known: the database did not answer within 800 ms ");
        assert!(line(&found, part).starts_with(&start), "{found}");
    }
    postgres.thaw();

    kafka.freeze();
    let found = look(3);
    assert!(line(&found, "database").starts_with("ok "), "{found}");
    let log = line(&found, "log");
    assert!(
        log.starts_with("FAIL ") && log.contains("` did not answer within 800 ms "),
        "{log}"
    );
    let lag = returns_within(WITHIN, || env.orders(&["lag"]).run()).exits(5);
    assert!(
        lag.stderr.contains("` did not answer within 800 ms"),
        "{}",
        lag.stderr
    );
    kafka.thaw();

    kafka.kill9();
    postgres.stop();
    let found = look(5);
    for part in ["database", "log"] {
        assert!(line(&found, part).starts_with("FAIL "), "{found}");
    }
    postgres.restart();
}
