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
    refused.reports(&format!(
        "not everything is stored: 3 record(s) of topic `{topic}`: 3 in partition 0"
    ));
    assert_eq!(fs::read_to_string(&old).expect("it is still there"), "old");

    // --partial needs no Kafka.
    let partial = env.orders(&["export", "--partial"]);
    let partial = partial.without_env("KAFKA_BROKERS").run().succeeds();
    assert_eq!(partial.stdout, "");

    // The export waits for a consumer that catches up.
    let export = env.orders(&to[..1]).spawn();
    export.wait_for_line("waiting until the consumer has stored 3 record(s)");
    let _consumer = env.consumer();
    export.wait_for_line("exported 3 order(s)");
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
    refused
        .reports("2 dead letter(s)")
        .reports("--dead-letters");

    let partial = env.orders(&["export", "--partial"]).run().succeeds();
    partial.reports("warning: 2 dead letter(s) were left out");

    let to = ["export", "--to", "exported", "--output", "json"];
    let both = env.orders(&to).arg("--dead-letters").arg("dead");
    let both = both.run().succeeds();
    let summary = json!({
        "orders": 0, "not_sendable": 0, "dead_letters": 2, "dead_letters_left_out": 0,
    });
    assert_eq!(both.json(), summary);
    let read = |name: &str| fs::read_to_string(env.path().join(name)).expect("it was written");
    assert_eq!(read("exported"), "");
    let letters = documents(&read("dead"));
    for (letter, offset) in letters.iter().zip(0..) {
        assert_eq!(letter["topic"], env.topic().as_str());
        assert_eq!([&letter["partition"], &letter["offset"]], [0, offset]);
        let reason = letter["reason"].as_str().expect("a text");
        assert!(!reason.is_empty());
    }
    let [text, bytes] = &letters[..] else {
        panic!("there are two dead letters: {letters:?}");
    };
    assert_eq!([&text["key"], &text["payload"]], ["uid-1", "no JSON"]);
    assert_eq!(
        [&bytes["key_base64"], &bytes["payload_base64"]],
        ["/w==", "AP8="]
    );
    assert_eq!(bytes["payload_bytes"], 2);
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
    let exported = exported
        .reports("warning: the order `nulls` is exported with the date \"\"")
        .reports("warning: 1 of 2 orders are stored in a form");
    assert!(!exported.stderr.contains("`dated`"), "{}", exported.stderr);

    let api = env.api();
    let sending = env.orders(&["send", "-", "--api-url", &api.url()]);
    let sent = sending.stdin(exported.stdout).run().exits(1);
    let sent = sent.reports("stdin:2: order `nulls` refused (422)");
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
fn devices_and_pipes_are_written_as_they_are() {
    let env = Env::ready();
    env.db().run("INSERT INTO orders (order_uid) VALUES ('a')");
    let null = env.orders(&["export", "--to", "/dev/null"]).run();
    null.succeeds().reports("exported 1 order(s)");
    let device = fs::metadata("/dev/null").expect("the device is still there");
    assert!(!device.is_file());
    let full = env.orders(&["export", "--to", "/dev/full"]).run();
    full.exits(1).reports("No space left");
    let piped = env.orders(&["export", "--to", "/dev/stdout"]).run();
    assert_eq!(documents(&piped.succeeds().stdout).len(), 1);
}

#[test]
fn an_export_never_replaces_a_database() {
    let env = Env::embedded();
    env.orders(&["migrate"]).run().succeeds();
    let before = fs::read(env.store_file()).expect("the store is there");
    for to in ["orders-data/store.db", "orders-data/new"] {
        let export = env.orders(&["export", "--partial", "--to", to]);
        export.run().exits(2).reports("in the data folder");
    }
    assert_eq!(fs::read(env.store_file()).expect("it still is"), before);
}

#[test]
fn a_target_that_cannot_be_a_file_is_refused_before_anything_is_read() {
    let env = Env::ready();
    env.db().run("INSERT INTO orders (order_uid) VALUES ('a')");
    for to in [".", "no/such/folder/file"] {
        let export = env.orders(&["export", "--to", to]);
        export.run().exits(2).reports(to);
    }
    let same = env.orders(&["export", "--to", "a", "--dead-letters", "a"]);
    same.run().exits(2);
}

#[test]
fn a_database_without_tables_is_an_error_that_names_the_command() {
    let refused = Env::empty().orders(&["export", "--partial"]).run().exits(3);
    refused.reports("run `orders migrate`");
}
