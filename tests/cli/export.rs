//! `orders export`: everything or an error, in the format that `orders send` reads.

use std::fs;

use serde_json::{Value, json};
use support::Env;
use support::kafka::RawRecord;
use support::orders::order_version;
use support::process::Pipe;

fn lines(documents: impl IntoIterator<Item = Value>) -> String {
    documents
        .into_iter()
        .map(|document| format!("{document}\n"))
        .collect()
}

/// Each line as a document, sorted by uid as the export is.
fn documents(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

fn many(count: u32) -> Vec<Value> {
    (0..count)
        .map(|number| order_version(&format!("uid-{number:04}"), number % 5))
        .collect()
}

fn send(env: &Env, api_url: &str, lines: &str) {
    env.orders(&["send", "-", "--api-url", api_url])
        .stdin(lines)
        .run()
        .succeeds();
}

#[test]
fn sent_orders_are_exported_and_sent_to_another_pipeline_byte_for_byte() {
    let (here, there) = (Env::with_partitions(3), Env::with_partitions(2));
    let (api, _consumer) = (here.api(), here.consumer());
    let sent = many(250);
    send(&here, &api.url(), &lines(sent.clone()));
    let exported = here.orders(&["export"]).run().succeeds();
    assert_eq!(documents(&exported.stdout), sent);
    assert!(exported.stderr.contains("exported 250 order(s)"));

    let (api, _consumer) = (there.api(), there.consumer());
    send(&there, &api.url(), &exported.stdout);
    let again = there.orders(&["export"]).run().succeeds();
    assert_eq!(again.stdout, exported.stdout);
}

#[test]
fn nothing_is_exported_while_records_are_not_stored_unless_partial() {
    let env = Env::ready();
    let api = env.api();
    send(&env, &api.url(), &lines(many(3)));
    let old = env.path().join("orders.ndjson");
    fs::write(&old, "old").expect("a file can be written");
    let to = ["export", "--wait", "0s", "--to", "orders.ndjson"];
    let refused = env.orders(&to).run().exits(3);
    let topic = env.topic();
    let said =
        format!("not everything is stored: 3 record(s) of topic `{topic}`: 3 in partition 0");
    assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&old).expect("it is still there"), "old");

    // A part needs no Kafka.
    let part = env.orders(&["export", "--partial"]);
    let part = part.without_env("KAFKA_BROKERS").run().succeeds();
    assert_eq!(part.stdout, "");

    // A consumer that catches up is waited for.
    let export = env.orders(&to[..1]).spawn();
    export.wait_for_line("waiting until the consumer has stored 3 record(s)");
    let _consumer = env.consumer();
    assert!(
        export
            .wait_for_line("exported")
            .contains("exported 3 order(s)")
    );
}

#[test]
fn dead_letters_are_exported_to_a_file_of_their_own_and_never_omitted_silently() {
    let env = Env::ready();
    let garbage = [
        RawRecord::new("uid-1", "no JSON"),
        RawRecord::new(b"\xff".to_vec(), b"\x00\xff".to_vec()),
    ];
    env.kafka().produce(&env.topic(), &garbage);
    let _consumer = env.consumer();
    let refused = env.orders(&["export"]).run().exits(3);
    assert_eq!(refused.stdout, "");
    assert!(
        refused.stderr.contains("2 dead letter(s)"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("--dead-letters"),
        "{}",
        refused.stderr
    );

    let part = env.orders(&["export", "--partial"]).run().succeeds();
    assert!(
        part.stderr
            .contains("warning: 2 dead letter(s) were left out")
    );

    let files = [
        "export",
        "--to",
        "exported",
        "--dead-letters",
        "dead",
        "--output",
        "json",
    ];
    let both = env.orders(&files).run().succeeds();
    let summary = json!({
        "orders": 0, "not_sendable": 0, "dead_letters": 2, "dead_letters_left_out": 0,
    });
    assert_eq!(both.json(), summary);
    let read = |name: &str| fs::read_to_string(env.path().join(name)).expect("it was written");
    assert_eq!(read("exported"), "");
    let mut letters = documents(&read("dead"));
    assert_eq!(letters.len(), 2);
    for (letter, offset) in letters.iter_mut().zip(0..) {
        assert_eq!(letter["topic"], env.topic().as_str());
        assert_eq!(
            (&letter["partition"], &letter["offset"]),
            (&json!(0), &json!(offset))
        );
        assert!(
            letter["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty())
        );
    }
    assert_eq!(
        (&letters[0]["key"], &letters[0]["payload"]),
        (&json!("uid-1"), &json!("no JSON"))
    );
    assert_eq!(letters[1]["key_base64"], "/w==");
    assert_eq!(
        (&letters[1]["payload_base64"], &letters[1]["payload_bytes"]),
        (&json!("AP8="), &json!(2))
    );
    assert!(!env.path().join("dead.part").exists());
}

#[test]
fn rows_of_other_programs_are_exported_and_listed_when_send_would_refuse_them() {
    let env = Env::ready();
    env.db().run(
        "INSERT INTO orders (order_uid, date_created) VALUES ('dated', '2021-11-26T06:22:19Z');
         INSERT INTO orders (order_uid) VALUES ('nulls')",
    );
    let exported = env.orders(&["export"]).run().succeeds();
    let uids: Vec<Value> = documents(&exported.stdout)
        .into_iter()
        .map(|order| order["order_uid"].clone())
        .collect();
    assert_eq!(uids, ["dated", "nulls"]);
    let stderr = &exported.stderr;
    assert!(
        stderr.contains("warning: the order `nulls` is exported as it is stored"),
        "{stderr}"
    );
    assert!(!stderr.contains("`dated`"), "{stderr}");
    assert!(
        stderr.contains("warning: 1 of 2 orders are stored in a form"),
        "{stderr}"
    );

    let api = env.api();
    let sending = env.orders(&["send", "-", "--api-url", &api.url()]);
    let sent = sending.stdin(exported.stdout.clone()).run().exits(1);
    assert!(
        sent.stderr.contains("stdin:2: order `nulls` refused (422)"),
        "{}",
        sent.stderr
    );
    assert!(!sent.stderr.contains("dated"), "{}", sent.stderr);
}

#[test]
fn a_closed_stdout_is_no_error() {
    let env = Env::ready();
    env.db().run(
        "INSERT INTO orders (order_uid, date_created)
         SELECT 'uid-' || n, now() FROM generate_series(1, 5000) n",
    );
    let export = env.orders(&["export"]).stdout(Pipe::Closed);
    assert_eq!(export.run().succeeds().stderr, "");
}

#[test]
fn a_target_that_cannot_be_a_file_is_refused_before_anything_is_read() {
    let env = Env::ready();
    env.db().run("INSERT INTO orders (order_uid) VALUES ('a')");
    for to in [".", "/dev/null", "no/such/folder/file"] {
        let export = env.orders(&["export", "--to", to]);
        let refused = export.run().exits(2);
        assert!(refused.stderr.contains(to), "{}", refused.stderr);
    }
    let same = env.orders(&["export", "--to", "a", "--dead-letters", "a"]);
    same.run().exits(2);
}

#[test]
fn a_database_without_tables_is_an_error_that_names_the_command() {
    let refused = Env::empty().orders(&["export", "--partial"]).run().exits(3);
    assert!(
        refused.stderr.contains("run `orders migrate`"),
        "{}",
        refused.stderr
    );
}
