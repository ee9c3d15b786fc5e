//! A retry that is killed leaves its dead letter open, or resolved with its order stored.

use std::os::unix::process::ExitStatusExt;

use support::orders::order;
use support::{Engines, TIMEOUT, on_both_engines};

use super::{dead_letters, run, write, wrong};

on_both_engines! {
    [a_retry_that_is_killed_around_its_commit_is_done_wholly_or_not_at_all]
}

fn a_retry_that_is_killed_around_its_commit_is_done_wholly_or_not_at_all(engines: &Engines) {
    let env = engines.ready();
    dead_letters(
        &env,
        &[("a", wrong("a")), ("b", wrong("b")), ("c", wrong("c"))],
    );
    let orders = ["a", "b", "c"].map(order);
    write(&env, "mended.json", &orders.into_iter().collect());
    let state = "
        SELECT d.resolution, o.order_uid, p.order_uid FROM dead_letters d
        LEFT JOIN orders o ON o.order_uid = d.order_uid
        LEFT JOIN payment p ON p.order_uid = d.order_uid ORDER BY d.id";
    for (point, expected) in [
        ("before_commit", "||\n||\n||"),
        ("after_commit", "retried|a|a\n||\n||"),
        ("before_commit:2", "retried|a|a\nretried|b|b\n||"),
    ] {
        let retry = ["dead-letters", "retry", "--file", "mended.json", "--yes"];
        let retry = env
            .orders(&retry)
            .env("ORDERS_FAILPOINT", format!("{point}=crash"));
        let mut process = retry.spawn();
        let status = process.wait_exit(TIMEOUT);
        assert_eq!(status.signal(), Some(9), "{point}: {:?}", process.lines());
        assert_eq!(env.db().text(state), expected, "{point}");
    }
    // What is resolved has no open dead letter any more.
    run(&env, "retry --file mended.json --yes").exits(1);
    let all = "retried|a|a\nretried|b|b\nretried|c|c";
    assert_eq!(env.db().text(state), all);
}
