//! The first signal drains the consumer, the second ends it at once.

use std::time::Duration;

use rustix::process::Signal;
use support::private::PrivatePostgres;
use support::{Env, Process, TIMEOUT, returns_within};

use super::{Stream, assert_all_stored, orders, versions};

#[test]
fn a_consumer_stopped_under_load_drains_and_the_next_one_continues() {
    let env = Env::with_partitions(4);
    let stream = Stream::start(&env, 4);
    for _ in 0..3 {
        let mut consumer = env.consume().spawn();
        let before = env.db().count("orders");
        env.db()
            .eventually(&format!("SELECT count(*) > {before} FROM orders"), "t");
        consumer.stop_within(Duration::from_secs(10));
        stream.wait_for(1);
    }
    let expected = stream.finish();
    let _consumer = env.consumer();
    assert_all_stored(&env, &expected);
}

/// A consumer that waits for a frozen database, with ten orders to store.
fn waiting_consumer(postgres: &PrivatePostgres, env: &Env) -> Process {
    let consumer = env.consumer();
    postgres.freeze();
    env.produce(&orders("order", 10, 1, 1));
    consumer.wait_until_unready("FAIL database");
    consumer
}

#[test]
fn a_second_signal_exits_at_once_while_the_database_is_frozen() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut consumer = waiting_consumer(&postgres, &env);
    consumer.signal(Signal::TERM);
    consumer.wait_for_line("draining");
    returns_within(Duration::from_secs(1), || {
        consumer.signal(Signal::TERM);
        assert_eq!(consumer.wait_exit(TIMEOUT).code(), Some(143));
    });
    postgres.thaw();
}

#[test]
fn one_signal_stops_a_consumer_whose_database_is_frozen() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut consumer = waiting_consumer(&postgres, &env);
    returns_within(Duration::from_secs(12), || consumer.stop());
    postgres.thaw();

    let _next = env.consumer();
    assert_all_stored(&env, &versions(&[("order", 10, 1)]));
}
