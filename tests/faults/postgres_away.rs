//! PostgreSQL is unavailable: the consumer waits and resumes, skips nothing and dead-letters nothing.

use std::time::{Duration, Instant};

use support::private::PrivatePostgres;
use support::{Env, TIMEOUT, eventually};

use super::{Expected, PausedLoad, Stream, assert_all_stored, expect, orders};

#[test]
fn nothing_is_lost_when_postgresql_is_killed_or_stopped_under_load() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(4);
    let (api, mut consumer) = (env.api(), env.consumer());
    let load = PausedLoad::start(&env, &api.url(), 2_000);
    let ways: [fn(&mut PrivatePostgres); 2] =
        [PrivatePostgres::kill9, PrivatePostgres::stop_immediately];
    for bring_down in ways {
        let mut db = env.db();
        let stored = db.count("orders");
        load.post_until("orders in the database", 600, || {
            let flows = db.count("orders") > stored + 150;
            if flows {
                bring_down(&mut postgres);
            }
            flows
        });
        consumer.wait_until_unready("FAIL database");
        // Orders need only the log.
        load.post(100);
        postgres.restart();
        let back = Instant::now();
        consumer.wait_ready();
        env.wait_until_applied();
        assert!(back.elapsed() < TIMEOUT, "it took {:?}", back.elapsed());
    }
    load.finish_and_audit(&env, &api);
    assert!(consumer.is_running());
}

#[test]
fn a_consumer_started_before_postgresql_reports_it_and_recovers() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    postgres.stop();
    env.kafka()
        .produce(&env.topic(), &orders("early", 50, 1, 2));
    let consumer = env.consume().spawn();
    consumer.wait_until_unready("FAIL database");

    postgres.restart();
    consumer.wait_ready();
    let mut expected = Expected::new();
    expect(&mut expected, "early", 50, 1);
    assert_all_stored(&env, &expected);
}

#[test]
fn nothing_is_lost_when_sessions_are_terminated_repeatedly() {
    let env = Env::with_partitions(4);
    let consumer = env.consumer();
    let (threads, descriptors) = (consumer.threads(), consumer.descriptors());
    let stream = Stream::start(&env, 4);
    let mut db = env.db();
    let applied = "SELECT coalesce(sum(next_offset), 0)::bigint FROM log_positions";
    for _ in 0..15 {
        let before = db.number(applied);
        eventually("sessions to terminate", TIMEOUT, || {
            let terminated = db.number(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'orders'",
            );
            (terminated > 0).then_some(())
        });
        // Whatever was cut off, the next of them comes while it is at work again.
        eventually("the positions to move", Duration::from_secs(30), || {
            (db.number(applied) > before).then_some(())
        });
    }
    let expected = stream.finish();
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
    // Lanes of the last rounds may still be ending; what each round leaves behind would not go.
    let bounds = format!("at most {threads} + 8 threads and {descriptors} + 16 descriptors");
    eventually(bounds, TIMEOUT, || {
        let is_bounded =
            consumer.threads() <= threads + 8 && consumer.descriptors() <= descriptors + 16;
        is_bounded.then_some(())
    });
}

#[test]
fn a_read_only_database_is_waited_for() {
    let env = Env::with_partitions(2);
    let consumer = env.consumer();
    let mut db = env.db();
    let database = db.text("SELECT current_database()");
    let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'orders'";
    db.run(&format!(
        "ALTER DATABASE {database} SET default_transaction_read_only = on"
    ));
    db.run(cut_off);
    env.kafka()
        .produce(&env.topic(), &orders("order", 100, 1, 2));
    consumer.wait_until_unready("read-only transaction");
    db.run(&format!(
        "ALTER DATABASE {database} RESET default_transaction_read_only"
    ));

    let mut expected = Expected::new();
    expect(&mut expected, "order", 100, 1);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

#[test]
fn a_database_reset_to_an_older_state_is_refilled_from_the_log() {
    let env = Env::ready();
    let consumer = env.consumer();
    let (kafka, mut db) = (env.kafka(), env.db());
    kafka.produce(&env.topic(), &orders("order", 100, 1, 1));
    env.wait_until_applied();

    // What restoring a dump of that moment leaves.
    db.run(
        "BEGIN; DELETE FROM orders WHERE source_offset >= 40;
         UPDATE log_positions SET next_offset = 40, tail_offset = NULL, tail_digest = NULL; COMMIT",
    );
    kafka.produce(&env.topic(), &orders("order", 10, 2, 1));
    let mut expected = Expected::new();
    expect(&mut expected, "order", 100, 1);
    expect(&mut expected, "order", 10, 2);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}
