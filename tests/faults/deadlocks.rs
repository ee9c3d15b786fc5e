//! Another program that writes the same rows in another sequence.

use support::{Env, TIMEOUT, wait_until};

use super::{Stream, assert_all_stored, wait_until_blocked};

#[test]
fn a_deadlock_with_another_program_is_retried_and_dead_letters_nothing() {
    let env = Env::ready();
    let consumer = env.consumer();
    let stream = Stream::start(&env, 1);
    let (mut db, mut bait) = (env.db(), env.db());
    db.eventually(
        "SELECT count(*) FROM orders WHERE order_uid LIKE 'again-%'",
        100,
    );
    // The session whose deadlock_timeout ends first is the victim: the consumer, after a second.
    bait.run("SET deadlock_timeout = '60s'");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    wait_until("two deadlocks", TIMEOUT, || {
        // The consumer locks its rows in the order of their uids; this is the other way round.
        bait.run("BEGIN; UPDATE orders SET entry = entry WHERE order_uid = 'again-99'");
        wait_until_blocked(&mut db);
        bait.run("UPDATE orders SET entry = entry WHERE order_uid = 'again-0'");
        bait.run("COMMIT");
        db.number(deadlocks) >= 2
    });
    let expected = stream.finish();
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}
