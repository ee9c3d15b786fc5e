//! Processes that crash or stall at the critical places (ORDERS_FAILPOINT).

use std::os::unix::process::ExitStatusExt;

use support::on_both_engines;
use support::private::free_port;
use support::{Engines, Env, Orders, TIMEOUT, eventually};

use super::{PausedLoad, Stream, assert_all_stored, expect, orders};

on_both_engines! {
    [
        consumers_that_crash_around_a_commit_or_an_assignment_lose_and_duplicate_nothing,
        an_api_that_crashes_between_acknowledgement_and_answer_loses_and_duplicates_no_order,
    ]
}

const FAILPOINT: &str = "ORDERS_FAILPOINT";

/// Starts a process that is to die at this place, and waits until it has, among new orders.
fn dies_at(load: &PausedLoad, command: Orders<'_>, place: &str) {
    let mut process = command.env(FAILPOINT, format!("{place}=crash")).spawn();
    load.post_until(place, 200, || !process.is_running());
    let status = process.wait_exit(TIMEOUT);
    assert_eq!(status.signal(), Some(9), "{place}: {:?}", process.lines());
    // A thread writes the log lines; at the first poll it may not have written this one.
    if place != "in_poll" {
        process.wait_for_line("ORDERS_FAILPOINT is set");
    }
}

fn consumers_that_crash_around_a_commit_or_an_assignment_lose_and_duplicate_nothing(
    engines: &Engines,
) {
    let env = engines.with_partitions(2);
    let api = env.api();
    let load = PausedLoad::start(&env, &api.url(), 1_000);
    // Both lanes come by `in_assign` twice: the fourth time everything is written and nothing read.
    let places = [
        "after_commit",
        "before_commit",
        "after_commit:2",
        "before_commit:2",
        "in_assign",
        "in_assign:4",
        "in_poll",
        "in_poll:20",
    ];
    for (number, place) in places.into_iter().enumerate() {
        load.post(20);
        // A group of its own: it need not wait until the group misses the one that died before.
        let group = format!("{}-{number}", env.group());
        dies_at(&load, env.consume().env("KAFKA_GROUP", group), place);
    }

    let mut heir = env.consumer();
    if *engines == Engines::Servers {
        // One that dies while it takes over from another, which is alive.
        dies_at(&load, env.consume(), "in_assign");
    }
    env.wait_until_applied();
    heir.wait_ready();
    load.finish_and_audit(&env, &api);
    assert!(heir.is_running());
}

fn an_api_that_crashes_between_acknowledgement_and_answer_loses_and_duplicates_no_order(
    engines: &Engines,
) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let port = format!("127.0.0.1:{}", free_port());
    let serve = || env.serve_api().env("HTTP_ADDR", &port);
    let load = PausedLoad::start(&env, &port, 500);
    for place in ["after_ack", "after_ack:2", "after_ack:100"] {
        dies_at(&load, serve(), place);
        // The log has an order without an answer; the client sends it again.
        let in_log: i64 = env.log().ends(&env.topic()).iter().sum();
        let accepted = i64::try_from(load.accepted()).expect("a small number");
        assert!(
            in_log > accepted,
            "{in_log} in the log, {accepted} accepted"
        );
    }
    let api = serve().start();
    load.finish_and_audit(&env, &api);
}

#[test]
fn a_consumer_stalled_beyond_its_poll_interval_rejoins_and_stores_everything_once() {
    let env = Env::with_partitions(2);
    let first = env
        .consume()
        .env(
            "KAFKA_PROPERTIES",
            "max.poll.interval.ms=6000,session.timeout.ms=6000",
        )
        .env(FAILPOINT, "before_commit:5=stall 9s")
        .start();
    let stream = Stream::start(&env, 2);
    // The lanes stall in their transactions, the polling thread at the start of a round.
    first.wait_for_line("stalling for");
    let stalled = first.mark();
    let second = env.consume().spawn();
    stream.wait_for(1);
    let mut expected = stream.finish();

    first.wait_for_line_after(stalled, "assigned partitions", TIMEOUT);
    // It learns of it from its group, or from the fence of the new owner.
    let lost =
        |line: &String| line.contains("revoked") || line.contains("another consumer took over");
    let said = first.lines().split_off(stalled);
    assert!(said.iter().any(lost), "{said:#?}");
    env.kafka()
        .produce(&env.topic(), &orders("after", 100, 1, 2));
    expect(&mut expected, "after", 100, 1);
    assert_all_stored(&env, &expected);
    eventually("a partition for each", TIMEOUT, || {
        let owners = "SELECT count(DISTINCT owner) FROM log_positions";
        (env.db().number(owners) == 2).then_some(())
    });
    first.wait_ready();
    second.wait_ready();
}

#[test]
fn malformed_failpoints_and_timeouts_are_configuration_errors() {
    let env = Env::empty();
    for (variable, value, expected) in [
        (FAILPOINT, "in_commit=crash", "POINT[:COUNT]=crash or"),
        ("ORDERS_TEST_TIMEOUTS", "lane=3", "NAME=TIME,…"),
    ] {
        let ran = env.consume().env(variable, value).run().exits(2);
        let said = format!("error: `{variable}` is `{value}`, expected {expected}");
        assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
    }
}
