//! A consumer that is frozen for longer than its session timeout, and thawed after another took over.

use std::time::Duration;

use support::{Env, TIMEOUT, eventually};

use super::{Expected, assert_all_stored, expect, orders};

#[test]
fn a_consumer_thawed_after_another_took_over_stores_nothing_twice() {
    let env = Env::with_partitions(4);
    let first = env.consumer();
    let kafka = env.kafka();
    kafka.produce(&env.topic(), &orders("order", 100, 1, 4));
    env.wait_until_applied();

    // Its fetches are pending at the broker: these records reach its socket, and it reads them
    // after the thaw.
    first.freeze();
    kafka.produce(&env.topic(), &orders("order", 100, 2, 4));
    let second = env.consume().spawn();
    env.wait_until_applied();
    kafka.produce(&env.topic(), &orders("order", 60, 3, 4));
    env.wait_until_applied();
    assert_eq!(
        env.db()
            .number("SELECT count(DISTINCT owner) FROM log_positions"),
        1
    );

    let asleep = first.mark();
    first.thaw();
    // It learns that it was away from the fence or from its group; either way it rejoins.
    first.wait_for_line_after(asleep, "assigned partitions", TIMEOUT);
    kafka.produce(&env.topic(), &orders("order", 30, 4, 4));
    let mut expected = Expected::new();
    expect(&mut expected, "order", 100, 2);
    expect(&mut expected, "order", 60, 3);
    expect(&mut expected, "order", 30, 4);
    assert_all_stored(&env, &expected);

    // Both continue as members of one group, with two partitions each.
    eventually("two owners", TIMEOUT, || {
        let owners = env
            .db()
            .number("SELECT count(DISTINCT owner) FROM log_positions");
        (owners == 2).then_some(())
    });
    second.wait_ready_within(Duration::from_secs(10));
    first.wait_ready_within(Duration::from_secs(10));
}

#[test]
fn a_consumer_frozen_inside_a_transaction_is_fenced_after_the_thaw() {
    let env = Env::ready();
    let first = env.consumer();
    let (kafka, mut db) = (env.kafka(), env.db());
    db.run("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
    kafka.produce(&env.topic(), &orders("order", 100, 1, 1));
    super::wait_until_locked_out(&mut env.db());
    first.freeze();
    db.run("COMMIT");
    // It is within a COPY and holds the lock of the position; no timeout of the server applies there.
    let _second = env.consume().spawn();
    kafka.produce(&env.topic(), &orders("order", 50, 2, 1));
    env.wait_until_applied();

    let asleep = first.mark();
    first.thaw();
    first.wait_for_line_after(asleep, "assigned partitions", TIMEOUT);
    kafka.produce(&env.topic(), &orders("order", 20, 3, 1));
    let mut expected = Expected::new();
    expect(&mut expected, "order", 100, 1);
    expect(&mut expected, "order", 50, 2);
    expect(&mut expected, "order", 20, 3);
    assert_all_stored(&env, &expected);
}

#[test]
fn a_consumer_whose_partitions_another_group_acquired_names_the_group_and_stops() {
    let env = Env::ready();
    let mut first = env.consumer();
    let _second = env.consume().env("KAFKA_GROUP", "usurpers").start();
    let owner = "SELECT owner_group FROM log_positions";
    env.db().eventually(owner, "usurpers");
    env.kafka()
        .produce(&env.topic(), &orders("order", 20, 1, 1));
    assert_eq!(first.wait_exit(TIMEOUT).code(), Some(1));
    let said = first.wait_for_line("error: ");
    assert!(said.contains("group `usurpers` on host `"), "{said}");
    assert!(said.contains(" since 20"), "{said}");

    let mut expected = Expected::new();
    expect(&mut expected, "order", 20, 1);
    assert_all_stored(&env, &expected);
}
