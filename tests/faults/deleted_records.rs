//! Retention deletes unread records: the partition stops and is unhealthy until an operator accepts the
//! gap.

use std::time::Duration;

use support::Env;

use super::{assert_stored, orders, to, versions};

const POSITIONS: &str = "SELECT partition, next_offset FROM log_positions ORDER BY 1";

/// Partition 0 has lost its unread offsets 10 to 14, partition 1 nothing; both end at 20.
fn with_a_gap() -> Env {
    let env = Env::with_partitions(2);
    let mut consumer = env.consumer();
    env.produce(&orders("read", 20, 1, 2));
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));
    env.produce(&orders("unread", 20, 1, 2));
    env.kafka().delete_records(&env.topic(), 0, 15);
    env
}

#[test]
fn a_partition_with_deleted_unread_records_stops_and_the_others_continue() {
    let env = with_a_gap();
    let consumer = env.consume().spawn();
    let hint = format!("orders gaps accept {}/0:10-14", env.topic());
    consumer.wait_until_unready(&hint);
    env.db().eventually(POSITIONS, "0|10\n1|20");
    env.produce(&to(1, orders("later", 10, 1, 1)));
    env.db().eventually(POSITIONS, "0|10\n1|30");

    let (status, checks) = consumer.readiness();
    assert_eq!(status, 503);
    let mut failing = checks.lines().filter(|line| line.starts_with("FAIL"));
    let check = failing.next().expect("a check fails");
    assert!(check.starts_with("FAIL partition 0: "), "{checks}");
    assert!(check.ends_with(&hint), "{checks}");
    assert_eq!(failing.next(), None);
    assert_eq!(env.db().count("log_gaps"), 0);
}

#[test]
fn only_an_existing_gap_can_be_accepted() {
    let env = with_a_gap();
    let topic = env.topic();
    let wrong = ["0:10-15", "0:11-14", "1:10-14"];
    let mut consumer = wrong
        .iter()
        .fold(env.consume(), |command, gap| {
            command.arg("--accept-gap").arg(format!("{topic}/{gap}"))
        })
        .spawn();
    consumer.wait_until_unready(&format!("orders gaps accept {topic}/0:10-14"));
    env.db().eventually(POSITIONS, "0|10\n1|20");
    assert_eq!(env.db().count("log_gaps"), 0);
    // A lane that may read nothing keeps neither the end nor a rebalance waiting.
    consumer.stop_within(Duration::from_secs(4));

    let consumer = env
        .consume()
        .arg("--accept-gap")
        .arg(format!("{topic}/0:10-14"))
        .start();
    env.wait_until_applied();
    let mut db = env.db();
    assert_eq!(
        db.text(
            "SELECT p.partition, g.epoch, g.from_offset, g.to_offset FROM log_gaps g
             JOIN log_positions p ON p.id = g.position_id"
        ),
        "0|1|10|15"
    );
    let mut expected = versions(&[("read", 20, 1), ("unread", 20, 1)]);
    // Partition 0 has the even ones; its first five are those that were deleted.
    for number in [0, 2, 4, 6, 8] {
        expected.remove(&format!("unread-{number}"));
    }
    assert_stored(&env, &expected);
    assert_eq!(db.count("dead_letters"), 0);
    consumer.wait_ready();
}
