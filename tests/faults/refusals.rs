//! A database that refuses: one refused order is a dead letter; a changed schema or revoked privileges are
//! an outage that an operator must end.

use support::audit::audit_offsets;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::private::PrivatePostgres;
use support::{Engines, Env, TIMEOUT, eventually, http};

use super::{Expected, assert_all_stored, assert_stored, expect, orders, wait_until_locked_out};

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
    env.db().add_check("spoken", "locale = 'xx'");
    let mut records = orders("order", 300, 1, 1);
    let spoken = records[123].value.take().expect("an order");
    let unspoken = String::from_utf8(spoken)
        .expect("JSON")
        .replace("\"en\"", "\"xx\"");
    records[123].value = Some(unspoken.into());
    env.log().produce(&env.topic(), &records);
    let consumer = env.consumer();
    env.wait_until_applied();

    let mut expected = Expected::new();
    expect(&mut expected, "order", 300, 1);
    expected.remove("order-123");
    assert_stored(&env, &expected);
    let letters = "SELECT \"offset\", order_uid FROM dead_letters WHERE reason LIKE '%spoken%'";
    assert_eq!(env.db().text(letters), "123|order-123");
    audit_offsets(&env);
    consumer.wait_ready();
}

fn an_incompatible_schema_stops_the_consumer_and_dead_letters_nothing(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    // SQLite cannot add a NOT NULL column without a default; a missing column has the same effect.
    let (harm, told, cure) = engines.select(
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
    env.db().run(harm);
    env.log().produce(&env.topic(), &orders("order", 300, 1, 1));
    consumer.wait_until_unready(told);
    let mut db = env.db();
    assert_eq!(
        db.number("SELECT CAST(sum(next_offset) AS BIGINT) FROM log_positions"),
        0
    );
    assert_eq!(db.count("dead_letters"), 0);

    db.run(cure);
    let mut expected = Expected::new();
    expect(&mut expected, "order", 300, 1);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

fn a_constraint_that_most_orders_violate_stops_the_consumer_and_dead_letters_nothing(
    engines: &Engines,
) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.db().add_check("spoken", "locale = 'en'");
    // In one batch: a single order that is refused is taken for a bad one, whatever comes after it.
    consumer.freeze();
    env.log().produce(&env.topic(), &orders("order", 300, 1, 1));
    consumer.thaw();
    consumer.wait_until_unready("spoken");
    let mut db = env.db();
    assert_eq!(db.count("dead_letters"), 0);
    db.drop_check("spoken");
    let mut expected = Expected::new();
    expect(&mut expected, "order", 300, 1);
    assert_all_stored(&env, &expected);
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
    env.kafka()
        .produce(&env.topic(), &orders("order", 100, 1, 1));
    consumer.wait_until_unready("permission denied");
    assert_eq!(db.count("dead_letters"), 0);
    db.run("GRANT INSERT ON orders TO writer");
    env.wait_until_applied();

    db.run("ALTER ROLE writer PASSWORD 'second'");
    db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    env.kafka()
        .produce(&env.topic(), &orders("order", 50, 2, 1));
    consumer.wait_until_unready("password authentication failed");
    assert_eq!(db.count("dead_letters"), 0);
    db.run("ALTER ROLE writer PASSWORD 'first'");
    let mut expected = Expected::new();
    expect(&mut expected, "order", 100, 1);
    expect(&mut expected, "order", 50, 2);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

#[test]
fn a_locked_table_does_not_cost_the_consumer_its_group_membership() {
    // Four lanes with more waiting than a batch: none of them may take the time it spends on the
    // database for a silence of Kafka's.
    let env = Env::with_partitions(4);
    let consumer = env.consumer();
    let mut locker = env.db();
    locker.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    let locked = consumer.mark();
    env.kafka()
        .produce(&env.topic(), &orders("order", 6_000, 1, 4));
    wait_until_locked_out(&mut env.db());
    // The server's own lock_timeout is 10 s: all lanes were refused, and are at it again.
    let url = format!("{}/metrics", consumer.admin_url());
    eventually("four statements that gave up", TIMEOUT, || {
        let metrics = http::get(&url).text();
        let retries = metrics
            .lines()
            .find_map(|line| line.strip_prefix("orders_consumer_store_retries_total "))?;
        (retries.parse::<u32>().ok()? >= 4).then_some(())
    });
    wait_until_locked_out(&mut env.db());
    locker.run("COMMIT");

    let mut expected = Expected::new();
    expect(&mut expected, "order", 6_000, 1);
    assert_all_stored(&env, &expected);
    let left = consumer.lines().split_off(locked);
    assert!(
        !left
            .iter()
            .any(|line| line.contains("revoked") || line.contains("reacquiring")),
        "it stayed in its group: {left:#?}"
    );
    consumer.wait_ready();
}

fn an_older_version_is_stored_when_the_database_refuses_the_newer_one(engines: &Engines) {
    let env = engines.ready();
    let mut db = env.db();
    db.add_check("no_second", "track_number = 'TRACK-2'");
    let version = |version: u32| {
        let mut order = order_version("twice", version);
        order["track_number"] = format!("TRACK-{version}").into();
        RawRecord::new("twice", order.to_string()).to(0)
    };
    // Both are waiting when the consumer starts, so they come in one batch.
    env.log().produce(&env.topic(), &[version(1), version(2)]);
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(
        db.text("SELECT order_uid, track_number FROM orders"),
        "twice|TRACK-1"
    );
    assert_eq!(
        db.text("SELECT order_uid, \"offset\" FROM dead_letters"),
        "twice|1"
    );
    audit_offsets(&env);
}

fn an_accept_time_out_of_range_stops_nothing(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let record = |uid: &str, accepted_at: &str| {
        RawRecord::new(uid, order(uid).to_string())
            .to(0)
            .header("accepted-at", accepted_at)
    };
    env.log().produce(
        &env.topic(),
        &[
            record("past", "-300000000000000000"),
            record("future", "9223372036854775807"),
            RawRecord::new("broken", "{")
                .to(0)
                .header("accepted-at", "-300000000000000000"),
            record("usual", "1700000000000000"),
        ],
    );
    env.wait_until_applied();
    assert_eq!(
        env.db()
            .text("SELECT order_uid FROM orders ORDER BY order_uid"),
        "future\npast\nusual"
    );
    assert_eq!(env.db().count("dead_letters"), 1);
}
