//! Kafka or PostgreSQL away for a while, or not yet there: work waits and resumes alone.

use std::time::Duration;

use crate::env::auditor::{Poster, Task, audit};
use crate::env::kafka::Outgoing;
use crate::env::orders::order_version;
use crate::env::private::{PrivateKafka, PrivatePostgres};
use crate::env::{Env, Process, eventually, given, http};

/// After an outage everything goes again within this time.
const RECOVERY: Duration = Duration::from_secs(30);

fn versions(from: u32, to: u32) -> Vec<Outgoing> {
    (from..=to)
        .map(|version| Outgoing::new("kept", order_version("kept", version).to_string()))
        .collect()
}

fn wait_until_unready(process: &Process, naming: &str) {
    eventually(format!("readiness names {naming}"), RECOVERY, || {
        let (status, said) = process.readiness();
        let failing = said
            .lines()
            .any(|line| line.starts_with("FAIL") && line.contains(naming));
        (status == 503 && failing).then_some(())
    });
}

#[test]
fn while_postgresql_is_away_nothing_is_skipped_or_dead_lettered_and_work_resumes_alone() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on(&given("ORDERS_TEST_KAFKA"), &postgres.url()).prepared(1);
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &versions(1, 10));
    env.wait_until_applied();

    for (stop, versions) in [
        (
            PrivatePostgres::stop_immediately as fn(&mut PrivatePostgres),
            versions(11, 20),
        ),
        (PrivatePostgres::stop, versions(21, 30)),
    ] {
        stop(&mut postgres);
        env.kafka().produce(&env.topic(), &versions);
        wait_until_unready(&consumer, "database");
        postgres.restart();
        env.wait_until_applied_within(RECOVERY);
        consumer.wait_ready_within(RECOVERY);
    }
    let mut db = env.db();
    assert_eq!(db.text("SELECT amount FROM payment"), "30");
    assert_eq!((db.count("dead_letters"), db.count("log_gaps")), (0, 0));
    assert!(consumer.is_running());
}

#[test]
fn backends_that_are_terminated_again_and_again_lose_nothing() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let mut admin = env.db();
    for round in 0..10 {
        let orders: Vec<Outgoing> = (0..200)
            .map(|number| {
                let uid = format!("uid-{round}-{number}");
                Outgoing::new(uid.as_str(), order_version(&uid, 1).to_string())
            })
            .collect();
        env.kafka().produce(&env.topic(), &orders);
        admin.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
    env.wait_until_applied();
    assert_eq!(
        (admin.count("orders"), admin.count("dead_letters")),
        (2000, 0)
    );
    assert_eq!(admin.number("SELECT count(*) FROM items"), 4000);
}

#[test]
fn while_kafka_is_away_posts_are_refused_honestly_and_work_resumes_alone() {
    let mut kafka = PrivateKafka::start();
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(2);
    let (mut api, mut consumer) = (env.api(), env.consumer());
    let task = Task {
        authority: api.url(),
        prefix: "kafka".into(),
        orders: 1500,
        poison_every: 0,
    };
    let poster = Poster::start(&env, &task);
    poster.wait_for_accepted(300, RECOVERY);

    kafka.stop();
    wait_until_unready(&api, "");
    let refused = http::post(
        &format!("{}/orders", api.url()),
        order_version("away", 1).to_string(),
    );
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let outcome = refused.json()["outcome"].clone();
    assert!(
        outcome == "unknown" || outcome == "not_accepted",
        "{outcome}"
    );
    kafka.restart();
    api.wait_ready_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    poster.wait_for_accepted(800, RECOVERY * 2);

    kafka.kill9();
    kafka.restart();
    let record = poster.finish(RECOVERY * 4);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &record);
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}

#[test]
fn services_started_before_kafka_say_so_and_recover_alone() {
    let mut kafka = PrivateKafka::stopped("");
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG"));
    env.orders(&["migrate"]).run().succeeds();
    let (api, consumer) = (env.serve_api().spawn(), env.consume().spawn());
    wait_until_unready(&api, "");
    wait_until_unready(&consumer, "kafka");
    let refused = http::post(
        &format!("{}/orders", api.url()),
        order_version("early", 1).to_string(),
    );
    assert_eq!(refused.status, 503, "{}", refused.text());

    kafka.restart();
    env.orders(&["create-topics"]).run().succeeds();
    api.wait_ready_within(RECOVERY * 2);
    consumer.wait_ready_within(RECOVERY * 2);
    assert_eq!(
        http::post(
            &format!("{}/orders", api.url()),
            order_version("early", 2).to_string()
        )
        .status,
        202
    );
    env.wait_until_applied_within(RECOVERY);
    assert_eq!(env.db().text("SELECT amount FROM payment"), "2");
}

#[test]
fn services_started_before_postgresql_say_so_and_recover_alone() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on(&given("ORDERS_TEST_KAFKA"), &postgres.url()).prepared(1);
    postgres.stop();
    let (api, consumer) = (env.serve_api().spawn(), env.consume().spawn());
    wait_until_unready(&consumer, "database");
    // The API takes orders without the database.
    api.wait_ready_within(RECOVERY);
    assert_eq!(
        http::post(
            &format!("{}/orders", api.url()),
            order_version("early", 3).to_string()
        )
        .status,
        202
    );

    postgres.restart();
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    assert_eq!(env.db().text("SELECT amount FROM payment"), "3");
}

#[test]
fn a_consumer_before_its_migrations_waits_for_them() {
    let env = Env::new();
    env.orders(&["create-topics"]).run().succeeds();
    env.kafka().produce(&env.topic(), &versions(1, 1));
    let consumer = env.consume().spawn();
    wait_until_unready(&consumer, "orders migrate");
    env.orders(&["migrate"]).run().succeeds();
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT amount FROM payment"), "1");
}

#[test]
fn a_table_that_is_locked_or_forbidden_dead_letters_nothing() {
    let env = Env::ready();
    let consumer = env.consumer();
    let mut locker = env.db();
    locker.run("BEGIN; LOCK TABLE orders");
    env.kafka().produce(&env.topic(), &versions(1, 5));
    // The first attempt ends by the lock timeout, at the latest; the group goes on meanwhile.
    eventually("a waiting session", RECOVERY, || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        (env.db().number(waiting) > 0).then_some(())
    });
    locker.run("COMMIT");
    env.wait_until_applied();

    let mut owner = env.db();
    owner.run("ALTER TABLE items RENAME TO hidden");
    env.kafka().produce(&env.topic(), &versions(6, 10));
    wait_until_unready(&consumer, "");
    assert_eq!(
        owner.text("SELECT count(*), (SELECT next_offset FROM log_positions) FROM dead_letters"),
        "0|5"
    );
    owner.run("ALTER TABLE hidden RENAME TO items");
    env.wait_until_applied_within(RECOVERY);
    assert_eq!(owner.text("SELECT amount FROM payment"), "10");
    assert_eq!(owner.count("dead_letters"), 0);
}
