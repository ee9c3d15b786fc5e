//! `orders lag`: the numbers are those of the log and of the positions, whatever is away.

use std::time::Duration;

use serde_json::json;
use support::kafka::RawRecord;
use support::{Engines, Env, PrivatePostgres, on_both_engines, returns_within};

on_both_engines! {
    [
        a_partition_at_its_end_is_current_and_names_its_owner,
        two_hundred_waiting_orders_are_counted_while_the_consumer_is_stopped_or_a_table_is_locked,
        everything_waits_before_the_first_migration,
        a_watched_lag_is_a_document_a_line_and_ends_when_it_is_over_the_limit,
    ]
}

/// How long the command may take while a part is away.
const WITHIN: Duration = Duration::from_secs(2);

fn orders(name: &str, count: usize) -> Vec<RawRecord> {
    let uids = (0..count).map(|number| format!("{name}-{number}"));
    uids.map(|uid| RawRecord::order(&uid)).collect()
}

/// What `orders lag` prints: the cells of each partition's line.
fn rows(stdout: &str) -> Vec<Vec<&str>> {
    let rows = stdout.lines().skip(1);
    rows.map(|line| line.split_whitespace().collect()).collect()
}

fn a_partition_at_its_end_is_current_and_names_its_owner(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.produce(&orders("o", 3));
    env.wait_until_applied();
    let owner = env.db().text("SELECT owner_host FROM log_positions");
    let (_, pid) = owner.rsplit_once(':').expect("host:pid");
    assert_eq!(pid, consumer.id().to_string());

    let lag = env.orders(&["lag", "--output", "json"]).run().succeeds();
    let mut document = lag.json();
    let since = document["partitions"][0]["since"].take();
    let since = since.as_str().expect("it is known").to_owned();
    let partition = json!({
        "partition": 0, "position": 3, "end": 3, "lag": 0, "oldest_waiting_s": 0,
        "owner": owner, "since": null,
    });
    let expected = json!({
        "topic": env.topic(), "lag": 0, "oldest_waiting_s": 0, "partitions": [partition],
    });
    assert_eq!(document, expected);
    let width = owner.len();
    let headers = "partition  position  end  lag  oldest waiting";
    let values = "0          3         3    0                  ";
    let table = env.orders(&["lag", "--fail-over", "0"]).run().succeeds();
    let lines = format!(
        "{headers}  {:width$}  since                 state\n{values}  {owner}  {since}  current\n",
        "owner"
    );
    table.prints(&lines, "nothing waits\n");
}

fn two_hundred_waiting_orders_are_counted_while_the_consumer_is_stopped_or_a_table_is_locked(
    engines: &Engines,
) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    env.produce(&orders("o", 3));
    env.wait_until_applied();
    consumer.stop();
    env.produce(&orders("waiting", 200));
    let check = || {
        let lag = env.orders(&["lag", "--fail-over", "200"]).run().succeeds();
        let row = &rows(&lag.stdout)[0];
        assert_eq!(row[..4], ["0", "3", "203", "200"]);
        assert_eq!(row.last(), Some(&"behind"));
        let summary = "200 records wait, the oldest for ";
        assert!(lag.stderr.starts_with(summary), "{}", lag.stderr);
    };
    check();
    let lag = env.orders(&["lag"]).run().succeeds();
    lag.reports(": nothing is applied; run `orders consume`\n");
    let over = env.orders(&["lag", "--fail-over", "199"]).run().exits(3);
    over.reports("warning: the lag is over 199 records\n");
    let over = env.orders(&["lag", "--fail-over", "0ms"]).run().exits(3);
    over.reports("warning: the lag is over 0ns\n");

    let locked = env.db().lock_writers();
    let consumer = env.consume().spawn();
    consumer.wait_for_line("operators' port");
    check();
    drop(locked);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 203);
}

fn everything_waits_before_the_first_migration(engines: &Engines) {
    let env = engines.empty();
    if engines == &Engines::Embedded {
        // Without a file there is no database that could say so.
        env.orders(&["migrate"]).run().succeeds();
    }
    env.orders(&["create-topics", "--partitions", "2"])
        .run()
        .succeeds();
    env.produce(&orders("o", 3));
    let lag = env.orders(&["lag", "--fail-over", "2"]).run().exits(3);
    assert!(lag.stderr.starts_with("3 records wait, "), "{}", lag.stderr);
    assert!(
        rows(&lag.stdout)
            .iter()
            .all(|row| row.ends_with(&["not", "read", "yet"]))
    );
    let pending = "the database: 4 migration(s) pending: run `orders migrate`";
    let is_warned = lag.stderr.contains(pending);
    assert_eq!(is_warned, engines == &Engines::Servers, "{}", lag.stderr);
}

fn a_watched_lag_is_a_document_a_line_and_ends_when_it_is_over_the_limit(engines: &Engines) {
    let env = engines.ready();
    let watch = ["lag", "--watch", "--output", "json", "--fail-over", "1"];
    let mut watched = env.orders(&watch).spawn();
    env.produce(&orders("o", 2));
    let output = watched.finished().exits(3);
    let last = output.stdout.lines().last().expect("it printed documents");
    let document: serde_json::Value = serde_json::from_str(last).expect("a line is a document");
    assert_eq!(document["lag"], 2);
}

#[test]
fn the_offsets_of_the_group_tell_the_lag_while_the_database_is_away() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut consumer = env.consumer();
    env.produce(&orders("o", 3));
    env.wait_until_applied();
    consumer.stop();
    env.produce(&orders("waiting", 4));
    let look = || {
        let lag = || env.orders(&["lag", "--fail-over", "3"]).run();
        let lag = returns_within(WITHIN, lag).exits(3);
        let row = &rows(&lag.stdout)[0];
        assert_eq!(row[..4], ["0", "3", "7", "4"]);
        assert!(lag.stdout.trim_end().ends_with("by the group's offset"));
        let (group, warning) = (env.group(), lag.stderr.lines().nth(1).unwrap_or_default());
        let instead = format!("; these are the offsets that group `{group}` has committed");
        assert!(warning.ends_with(&instead), "{}", lag.stderr);
        lag.stderr
    };
    postgres.freeze();
    let said = look();
    assert!(said.contains(" did not answer within 800 ms; "), "{said}");
    postgres.thaw();
    postgres.stop();
    let said = look();
    assert!(said.contains("the database is unavailable: "), "{said}");
    postgres.restart();
}
