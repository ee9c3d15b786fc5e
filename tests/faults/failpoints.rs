//! Processes that crash or stall at the critical points (ORDERS_FAILPOINT).

use std::os::unix::process::ExitStatusExt;

use support::on_both_engines;
use support::private::free_address;
use support::{Engines, Env, Orders, TIMEOUT};

use super::{PausedLoad, Stream, assert_all_stored, orders, versions};

on_both_engines! {
    [
        consumers_that_crash_around_a_commit_or_an_assignment_lose_and_duplicate_nothing,
        an_api_that_crashes_between_acknowledgement_and_answer_loses_and_duplicates_no_order,
    ]
}

const FAILPOINT: &str = "ORDERS_FAILPOINT";

/// Starts a process that crashes at this point, and waits until it has, while orders are posted.
fn crash_at(load: &PausedLoad, command: Orders<'_>, point: &str) {
    let mut process = command.env(FAILPOINT, format!("{point}=crash")).spawn();
    load.post_until(point, 200, || !process.is_running());
    let status = process.wait_exit(TIMEOUT);
    assert_eq!(status.signal(), Some(9), "{point}: {:?}", process.lines());
    // A thread writes the log lines; at the first poll this one may not be written yet.
    if point != "in_poll" {
        process.wait_for_line("ORDERS_FAILPOINT is set");
    }
}

fn consumers_that_crash_around_a_commit_or_an_assignment_lose_and_duplicate_nothing(
    engines: &Engines,
) {
    let env = engines.with_partitions(2);
    let api = env.api();
    let load = PausedLoad::start(&env, &api.url(), 1_000);
    // Both lanes pass `in_assign` twice: the fourth time everything is written and nothing read.
    let points = [
        "after_commit",
        "before_commit",
        "after_commit:2",
        "before_commit:2",
        "in_assign",
        "in_assign:4",
        "in_poll",
        "in_poll:20",
    ];
    for (number, point) in points.into_iter().enumerate() {
        load.post(20);
        // A group of its own: it need not wait for the session timeout of the one that crashed before.
        let group = format!("{}-{number}", env.group());
        crash_at(&load, env.consume().env("KAFKA_GROUP", group), point);
    }

    let mut last = env.consumer();
    if *engines == Engines::Servers {
        // One that crashes while it takes over partitions of another, which is alive.
        crash_at(&load, env.consume(), "in_assign");
    }
    env.wait_until_applied();
    last.wait_ready();
    load.finish_and_audit(&env, &api);
    assert!(last.is_running());
}

fn an_api_that_crashes_between_acknowledgement_and_answer_loses_and_duplicates_no_order(
    engines: &Engines,
) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let port = free_address();
    let serve = || env.serve_api().http_addr(&port);
    let load = PausedLoad::start(&env, &port, 500);
    for point in ["after_ack", "after_ack:2", "after_ack:100"] {
        crash_at(&load, serve(), point);
        // The log has an order without an answer; the client sends it again.
        let in_log: i64 = env.log().ends(&env.topic()).iter().sum();
        let accepted = load.accepted() as i64;
        assert!(in_log > accepted, "{in_log} > {accepted}");
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
    // The lanes stall in their transactions, the polling thread at the start of an assignment.
    first.wait_for_line("stalling for");
    let stalled = first.mark();
    let second = env.consume().spawn();
    stream.wait_for(1);
    let mut expected = stream.finish();

    first.wait_for_line_after(stalled, "assigned partitions", TIMEOUT);
    // Its group tells it, or the fence of the new owner.
    let lines = first.lines().split_off(stalled);
    let reasons = ["revoked", "another consumer took over"];
    let is_told = |line: &String| reasons.iter().any(|reason| line.contains(reason));
    assert!(lines.iter().any(is_told), "{lines:#?}");
    env.produce(&orders("after", 100, 1, 2));
    expected.extend(versions(&[("after", 100, 1)]));
    assert_all_stored(&env, &expected);
    env.db()
        .eventually("SELECT count(DISTINCT owner) FROM log_positions", 2);
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
