//! The lag and the readiness that a consumer reports are right whatever it waits for, and the group's
//! offsets are watched.

use std::time::{Duration, Instant};

use support::private::PrivatePostgres;
use support::{Engines, Env, Process, TIMEOUT, eventually_ok, group_offsets, on_both_engines};

use super::{assert_all_stored, orders, to, versions};

on_both_engines! {
    [
        a_consumer_whose_table_is_locked_reports_its_lag_and_is_unready_within_ten_seconds,
        a_lag_that_is_not_known_is_not_reported_as_zero,
        a_consumer_that_progresses_stays_ready_whatever_the_backlog,
    ]
}

/// How soon a consumer that makes no progress must be unready.
const UNREADY_WITHIN: Duration = Duration::from_secs(10);

fn lag(partition: i32) -> String {
    format!("orders_consumer_lag_records{{partition=\"{partition}\"}}")
}

fn oldest(partition: i32) -> String {
    format!("orders_consumer_oldest_waiting_seconds{{partition=\"{partition}\"}}")
}

#[track_caller]
fn wait_for_lag(consumer: &Process, partition: i32, records: f64) {
    let name = lag(partition);
    let what = format!("`{name}` to be {records}");
    eventually_ok(what, TIMEOUT, || match consumer.find_metric(&name) {
        Ok(found) if found == records => Ok(()),
        Ok(found) => Err(found.to_string()),
        Err(_) => Err("it is not there".into()),
    });
}

/// Waits until the partition is unready because so many records wait; panics after ten seconds.
#[track_caller]
fn wait_until_stalled(consumer: &Process, partition: i32, records: usize) {
    let check = format!("FAIL partition {partition}: {records} records wait, no progress since ");
    eventually_ok(&check, UNREADY_WITHIN, || {
        let found = consumer.failing_check(&check);
        found.map(drop).ok_or_else(|| consumer.readiness().1)
    });
}

fn a_consumer_whose_table_is_locked_reports_its_lag_and_is_unready_within_ten_seconds(
    engines: &Engines,
) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.produce(&orders("before", 10, 1, 1));
    env.wait_until_applied();
    wait_for_lag(&consumer, 0, 0.0);
    assert_eq!(consumer.find_metric(&oldest(0)), Ok(0.0));

    let locked = env.db().lock_writers();
    env.produce(&orders("order", 205, 1, 1));
    wait_until_stalled(&consumer, 0, 205);
    wait_for_lag(&consumer, 0, 205.0);
    let waited = consumer.find_metric(&oldest(0)).expect("it is known");
    assert!((5.0..30.0).contains(&waited), "{waited}");
    // It stays unready, and counts on.
    env.produce(&orders("more", 5, 1, 1));
    wait_for_lag(&consumer, 0, 210.0);
    wait_until_stalled(&consumer, 0, 210);
    drop(locked);

    env.wait_until_applied();
    consumer.wait_ready();
    wait_for_lag(&consumer, 0, 0.0);
}

fn a_lag_that_is_not_known_is_not_reported_as_zero(engines: &Engines) {
    // Migrations are pending: no position can be read, and no group has committed any.
    let env = engines.empty();
    let create = env.orders(&["create-topics", "--partitions", "1"]);
    create.run().succeeds();
    env.produce(&orders("order", 7, 1, 1));
    let consumer = env.consume().spawn();
    let unready = consumer.wait_until_unready("up to 7 records wait");
    assert!(unready.starts_with("FAIL partition 0: "), "{unready}");
    for name in [lag(0), oldest(0)] {
        let found = consumer.find_metric(&name);
        assert!(found.is_err(), "{name} is {found:?}");
    }
    env.orders(&["migrate"]).run().succeeds();
    consumer.wait_ready();
    env.wait_until_applied();
    wait_for_lag(&consumer, 0, 0.0);
}

fn a_consumer_that_progresses_stays_ready_whatever_the_backlog(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    let (began, mut produced) = (Instant::now(), 0);
    // The consumer is behind all the time, for longer than a stalled one would stay ready.
    while began.elapsed() < UNREADY_WITHIN {
        env.produce(&orders(&format!("order{produced}"), 2_000, 1, 1));
        produced += 1;
        let (status, checks) = consumer.readiness();
        assert_eq!(status, 200, "{checks}");
    }
    env.wait_until_applied_within(TIMEOUT * 2);
    consumer.wait_ready();
}

#[test]
fn a_stopped_database_is_reported_with_the_records_that_wait() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    let mut consumer = env.consumer();
    env.produce(&orders("before", 20, 1, 2));
    env.wait_until_applied();
    eventually_ok("the group's offset", TIMEOUT, || {
        let committed = group_offsets::committed(&env, 0);
        (committed == Some(10)).then_some(()).ok_or("not yet")
    });

    postgres.stop_immediately();
    env.produce(&orders("order", 205, 1, 1));
    wait_for_lag(&consumer, 0, 205.0);
    wait_for_lag(&consumer, 1, 0.0);
    wait_until_stalled(&consumer, 0, 205);

    // A process that has never reached the database counts from what the group has committed.
    consumer.kill9();
    let consumer = env.consume().spawn();
    wait_for_lag(&consumer, 0, 205.0);
    wait_for_lag(&consumer, 1, 0.0);
    consumer.wait_until_unready("FAIL partition 0: 205 records wait");

    postgres.restart();
    consumer.wait_ready();
    env.wait_until_applied();
    wait_for_lag(&consumer, 0, 0.0);
}

#[test]
fn the_lag_of_a_partition_that_is_stopped_at_a_gap_counts_up() {
    let env = Env::with_partitions(2);
    let mut consumer = env.consumer();
    env.produce(&orders("read", 20, 1, 2));
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));
    env.produce(&orders("unread", 20, 1, 2));
    env.kafka().delete_records(&env.topic(), 0, 15);

    let consumer = env.consume().spawn();
    consumer.wait_until_unready("orders gaps accept");
    wait_for_lag(&consumer, 0, 10.0);
    env.produce(&to(0, orders("later", 5, 1, 1)));
    wait_for_lag(&consumer, 0, 15.0);
    wait_for_lag(&consumer, 1, 0.0);
    wait_until_stalled(&consumer, 0, 15);
    // The records at the position are gone: those after them wait.
    let waited = consumer.find_metric(&oldest(0)).expect("it is known");
    assert!(waited > 5.0, "{waited}");
}

#[test]
fn an_offset_of_the_group_that_was_reset_is_reported_with_the_command_that_replays() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    env.produce(&orders("order", 10, 1, 1));
    env.wait_until_applied();
    // A consumer that is killed leaves offsets behind that are older than its position.
    consumer.kill9();
    let mut consumer = env.consumer();
    env.produce(&orders("more", 10, 1, 1));
    env.wait_until_applied();
    let said = consumer.lines().join("\n");
    assert!(!said.contains("orders replay"), "{said}");
    assert_eq!(consumer.stop().code(), Some(0));
    assert_eq!(group_offsets::committed(&env, 0), Some(20));

    group_offsets::reset(&env, 0, 4);
    let consumer = env.consumer();
    let line = consumer.wait_for_line("orders replay --from 0@4");
    assert!(line.contains("set to 4"), "{line}");
    env.produce(&orders("last", 1, 1, 1));
    let mut expected = versions(&[("order", 10, 1), ("more", 10, 1)]);
    expected.extend(versions(&[("last", 1, 1)]));
    assert_all_stored(&env, &expected);
    let lines = consumer.lines();
    let reports = lines.iter().filter(|line| line.contains("orders replay"));
    assert_eq!(reports.count(), 1, "{lines:#?}");
}
