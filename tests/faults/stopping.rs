//! The first signal drains, the second exits.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::Env;
use support::private::PrivatePostgres;

use super::{Stream, assert_all_stored, orders};

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

#[test]
fn a_second_signal_exits_at_once_while_the_database_is_frozen() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut consumer = env.consumer();
    postgres.freeze();
    env.kafka()
        .produce(&env.topic(), &orders("order", 10, 1, 1));
    consumer.wait_until_unready("FAIL database");

    consumer.signal(Signal::TERM);
    consumer.wait_for_line("draining");
    let asked = Instant::now();
    consumer.signal(Signal::TERM);
    assert_eq!(consumer.wait_exit(Duration::from_secs(5)).code(), Some(143));
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        asked.elapsed()
    );
    postgres.thaw();
}

#[test]
fn one_signal_stops_a_consumer_whose_database_is_frozen() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let mut consumer = env.consumer();
    postgres.freeze();
    env.kafka()
        .produce(&env.topic(), &orders("order", 10, 1, 1));
    consumer.wait_until_unready("FAIL database");

    consumer.signal(Signal::TERM);
    let asked = Instant::now();
    consumer.wait_exit(Duration::from_secs(20));
    assert!(
        asked.elapsed() < Duration::from_secs(12),
        "it took {:?}",
        asked.elapsed()
    );
    postgres.thaw();

    let _next = env.consumer();
    let mut expected = super::Expected::new();
    super::expect(&mut expected, "order", 10, 1);
    assert_all_stored(&env, &expected);
}
