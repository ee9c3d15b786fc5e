//! Fenced consumers: frozen for longer than the session timeout and thawed after another took over, or
//! replaced by another group.

use std::time::Duration;

use support::{Env, TIMEOUT};

use super::{assert_all_stored, orders, versions};

#[test]
fn a_consumer_thawed_after_another_took_over_stores_nothing_twice() {
    let env = Env::with_partitions(4);
    let first = env.consumer();
    env.produce(&orders("order", 100, 1, 4));
    env.wait_until_applied();

    // Its fetches are pending at the broker: these records reach its socket, and it reads them
    // after the thaw.
    first.freeze();
    env.produce(&orders("order", 100, 2, 4));
    let second = env.consume().spawn();
    env.wait_until_applied();
    env.produce(&orders("order", 60, 3, 4));
    env.wait_until_applied();
    let owners = "SELECT count(DISTINCT owner) FROM log_positions";
    assert_eq!(env.db().number(owners), 1);

    let frozen = first.mark();
    first.thaw();
    // The fence or its group tells it that it was absent; either way it rejoins.
    first.wait_for_line_after(frozen, "assigned partitions", TIMEOUT);
    env.produce(&orders("order", 30, 4, 4));
    let expected = versions(&[("order", 100, 2), ("order", 60, 3), ("order", 30, 4)]);
    assert_all_stored(&env, &expected);

    // Both continue as members of one group, with two partitions each.
    env.db().eventually(owners, 2);
    second.wait_ready_within(Duration::from_secs(10));
    first.wait_ready_within(Duration::from_secs(10));
}

#[test]
fn a_consumer_frozen_inside_a_transaction_is_fenced_after_the_thaw() {
    let env = Env::ready();
    let first = env.consumer();
    let mut db = env.db();
    db.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    env.produce(&orders("order", 100, 1, 1));
    super::wait_until_blocked(&mut env.db());
    first.freeze();
    db.run("COMMIT");
    // It is within a COPY and holds the lock of the position; no timeout of the server applies there.
    let _second = env.consume().spawn();
    env.produce(&orders("order", 50, 2, 1));
    env.wait_until_applied();

    let frozen = first.mark();
    first.thaw();
    first.wait_for_line_after(frozen, "assigned partitions", TIMEOUT);
    env.produce(&orders("order", 20, 3, 1));
    let expected = versions(&[("order", 100, 1), ("order", 50, 2), ("order", 20, 3)]);
    assert_all_stored(&env, &expected);
}

#[test]
fn a_consumer_whose_partitions_another_group_acquired_names_the_group_and_stops() {
    let env = Env::ready();
    let mut first = env.consumer();
    let _second = env.consume().env("KAFKA_GROUP", "other-group").start();
    let owner = "SELECT owner_group FROM log_positions";
    env.db().eventually(owner, "other-group");
    env.produce(&orders("order", 20, 1, 1));
    assert_eq!(first.wait_exit(TIMEOUT).code(), Some(1));
    let error = first.wait_for_line("error: ");
    assert!(error.contains("group `other-group`, process `"), "{error}");
    assert!(error.contains(" since 20"), "{error}");

    assert_all_stored(&env, &versions(&[("order", 20, 1)]));
}
