//! PostgreSQL is unavailable: the consumer waits and resumes, skips nothing and dead-letters nothing.

use std::time::{Duration, Instant};

use support::private::PrivatePostgres;
use support::{Env, TIMEOUT, wait_until};

use super::{PausedLoad, Stream, assert_all_stored, orders, versions};

#[test]
fn nothing_is_lost_when_postgresql_is_killed_or_stopped_under_load() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(4);
    let (api, mut consumer) = (env.api(), env.consumer());
    let load = PausedLoad::start(&env, &api.url(), 2_000);
    let faults: [fn(&mut PrivatePostgres); 2] =
        [PrivatePostgres::kill9, PrivatePostgres::stop_immediately];
    for fault in faults {
        let mut db = env.db();
        let stored = db.count("orders");
        load.post_until("orders in the database", 600, || {
            let is_busy = db.count("orders") > stored + 150;
            if is_busy {
                fault(&mut postgres);
            }
            is_busy
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
fn nothing_is_lost_when_sessions_are_terminated_repeatedly() {
    let env = Env::with_partitions(4);
    let consumer = env.consumer();
    let (threads, descriptors) = (consumer.threads(), consumer.descriptors());
    let stream = Stream::start(&env, 4);
    let mut db = env.db();
    for _ in 0..15 {
        let before = db.applied();
        wait_until("sessions to terminate", TIMEOUT, || {
            db.terminate_sessions() > 0
        });
        // The next sessions are terminated when the consumer works again.
        wait_until("the positions to move", Duration::from_secs(30), || {
            db.applied() > before
        });
    }
    let expected = stream.finish();
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
    // Lanes of the last assignments may still be ending; a leak would stay.
    let bounds = format!("at most {threads} + 8 threads and {descriptors} + 16 descriptors");
    wait_until(bounds, TIMEOUT, || {
        consumer.threads() <= threads + 8 && consumer.descriptors() <= descriptors + 16
    });
}

#[test]
fn a_read_only_database_is_waited_for() {
    let env = Env::with_partitions(2);
    let consumer = env.consumer();
    let mut db = env.db();
    let database = db.text("SELECT current_database()");
    let alter = format!("ALTER DATABASE {database}");
    db.run(&format!("{alter} SET default_transaction_read_only = on"));
    db.terminate_sessions();
    env.produce(&orders("order", 100, 1, 2));
    consumer.wait_until_unready("read-only transaction");
    db.run(&format!("{alter} RESET default_transaction_read_only"));

    assert_all_stored(&env, &versions(&[("order", 100, 1)]));
    consumer.wait_ready();
}

#[test]
fn a_database_reset_to_an_older_state_is_refilled_from_the_log() {
    let env = Env::ready();
    let consumer = env.consumer();
    let mut db = env.db();
    env.produce(&orders("order", 100, 1, 1));
    env.wait_until_applied();

    // As after restoring a dump of that moment.
    db.run(
        "BEGIN; DELETE FROM orders WHERE source_offset >= 40;
         UPDATE log_positions SET next_offset = 40, tail_offset = NULL, tail_digest = NULL; COMMIT",
    );
    env.produce(&orders("order", 10, 2, 1));
    assert_all_stored(&env, &versions(&[("order", 100, 1), ("order", 10, 2)]));
    consumer.wait_ready();
}
