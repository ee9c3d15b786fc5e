//! A database that refuses: one refused order is a dead letter; a changed schema or revoked privileges are
//! an outage that an operator must end.

use support::audit::audit_offsets;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;
use support::private::PrivatePostgres;
use support::{Engines, Env};

use super::{assert_all_stored, assert_stored, orders, versions, wait_until_blocked};

on_both_engines! {
    [
        an_order_that_the_database_refuses_becomes_a_dead_letter_and_all_others_are_stored,
        an_incompatible_schema_stops_the_consumer_and_dead_letters_nothing,
        a_constraint_that_most_orders_violate_stops_the_consumer_and_dead_letters_nothing,
        an_older_version_is_stored_when_the_database_refuses_the_newer_one,
        an_accept_time_out_of_range_stops_nothing,
    ]
}

fn an_order_that_the_database_refuses_becomes_a_dead_letter_and_all_others_are_stored(
    engines: &Engines,
) {
    let env = engines.ready();
    env.db().add_check("known_locale", "locale = 'xx'");
    let mut records = orders("order", 300, 1, 1);
    let mut refused = order("order-123");
    refused["locale"] = "xx".into();
    records[123] = RawRecord::new("order-123", refused.to_string()).to(0);
    env.produce(&records);
    let consumer = env.consumer();
    env.wait_until_applied();

    let mut expected = versions(&[("order", 300, 1)]);
    expected.remove("order-123");
    assert_stored(&env, &expected);
    let letters =
        "SELECT \"offset\", order_uid FROM dead_letters WHERE reason LIKE '%known_locale%'";
    assert_eq!(env.db().text(letters), "123|order-123");
    audit_offsets(&env);
    consumer.wait_ready();
}

fn an_incompatible_schema_stops_the_consumer_and_dead_letters_nothing(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    // SQLite cannot add a NOT NULL column without a default; a missing column has the same effect.
    let (fault, reason, repair) = engines.select(
        (
            "ALTER TABLE orders ADD COLUMN approved_by TEXT NOT NULL",
            "approved_by",
            "ALTER TABLE orders DROP COLUMN approved_by",
        ),
        (
            "ALTER TABLE orders RENAME COLUMN entry TO entry_2",
            "column named entry",
            "ALTER TABLE orders RENAME COLUMN entry_2 TO entry",
        ),
    );
    env.db().run(fault);
    env.produce(&orders("order", 300, 1, 1));
    consumer.wait_until_unready(reason);
    let mut db = env.db();
    assert_eq!(db.applied(), 0);
    assert_eq!(db.count("dead_letters"), 0);

    db.run(repair);
    assert_all_stored(&env, &versions(&[("order", 300, 1)]));
    consumer.wait_ready();
}

fn a_constraint_that_most_orders_violate_stops_the_consumer_and_dead_letters_nothing(
    engines: &Engines,
) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.db().add_check("known_locale", "locale = 'en'");
    // In one batch: a single refused order becomes a dead letter, whatever follows it.
    consumer.freeze();
    env.produce(&orders("order", 300, 1, 1));
    consumer.thaw();
    consumer.wait_until_unready("known_locale");
    let mut db = env.db();
    assert_eq!(db.count("dead_letters"), 0);
    db.drop_check("known_locale");
    assert_all_stored(&env, &versions(&[("order", 300, 1)]));
    consumer.wait_ready();
}

#[test]
fn revoked_privileges_and_a_changed_password_stop_the_consumer_until_restored() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut db = env.db();
    db.run(
        "CREATE ROLE writer LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO writer",
    );
    db.run("ALTER ROLE writer PASSWORD 'first'");
    postgres.require_password("writer");
    let url = env.db_url.replace("postgres@", "writer:first@");
    let consumer = env.consume().env("DB_URL", url).start();

    db.run("REVOKE INSERT ON orders FROM writer");
    env.produce(&orders("order", 100, 1, 1));
    consumer.wait_until_unready("permission denied");
    assert_eq!(db.count("dead_letters"), 0);
    db.run("GRANT INSERT ON orders TO writer");
    env.wait_until_applied();

    db.run("ALTER ROLE writer PASSWORD 'second'");
    db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    env.produce(&orders("order", 50, 2, 1));
    consumer.wait_until_unready("password authentication failed");
    assert_eq!(db.count("dead_letters"), 0);
    db.run("ALTER ROLE writer PASSWORD 'first'");
    assert_all_stored(&env, &versions(&[("order", 100, 1), ("order", 50, 2)]));
    consumer.wait_ready();
}

#[test]
fn a_locked_table_does_not_cost_the_consumer_its_group_membership() {
    // Four lanes with more than a batch each: none may count the time that it waits for the database
    // as time without an answer of Kafka.
    let env = Env::with_partitions(4);
    let consumer = env.consumer();
    let mut locker = env.db();
    locker.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    let locked = consumer.mark();
    env.produce(&orders("order", 6_000, 1, 4));
    wait_until_blocked(&mut env.db());
    // The lock_timeout of the program is 10 s: every lane has timed out, and retries.
    consumer.wait_for_metric("orders_store_errors_total{kind=\"contended\"}", 4);
    wait_until_blocked(&mut env.db());
    locker.run("COMMIT");

    assert_all_stored(&env, &versions(&[("order", 6_000, 1)]));
    let lines = consumer.lines().split_off(locked);
    let leaves = |line: &String| line.contains("revoked") || line.contains("reacquiring");
    assert!(!lines.iter().any(leaves), "it left its group: {lines:#?}");
    consumer.wait_ready();
}

fn an_older_version_is_stored_when_the_database_refuses_the_newer_one(engines: &Engines) {
    let env = engines.ready();
    let mut db = env.db();
    db.add_check("no_second", "track_number = 'TRACK-2'");
    let version = |version: u32| RawRecord::version("twice", version).to(0);
    // Both are waiting when the consumer starts, so they come in one batch.
    env.produce(&[version(1), version(2)]);
    let _consumer = env.consumer();
    env.wait_until_applied();
    let stored = db.text("SELECT order_uid, track_number FROM orders");
    assert_eq!(stored, "twice|TRACK-1");
    let letters = db.text("SELECT order_uid, \"offset\" FROM dead_letters");
    assert_eq!(letters, "twice|1");
    audit_offsets(&env);
}

fn an_accept_time_out_of_range_stops_nothing(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.produce(&[
        RawRecord::order("past").header("accepted-at", "-300000000000000000"),
        RawRecord::order("future").header("accepted-at", "9223372036854775807"),
        RawRecord::new("malformed", "{").header("accepted-at", "-300000000000000000"),
        RawRecord::order("usual").header("accepted-at", "1700000000000000"),
    ]);
    env.wait_until_applied();
    let stored = "SELECT order_uid FROM orders ORDER BY order_uid";
    assert_eq!(env.db().text(stored), "future\npast\nusual");
    assert_eq!(env.db().count("dead_letters"), 1);
}
