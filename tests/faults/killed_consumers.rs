//! kill -9 of a consumer: the next one continues at its position.

use std::time::Duration;

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;
use support::{Engines, Env, Process};

on_both_engines! {
    [
        a_new_consumer_stores_within_thirty_seconds_of_a_kill,
    ]
}

/// From a kill until orders are stored again.
const RECOVERY: Duration = Duration::from_secs(30);

fn a_new_consumer_stores_within_thirty_seconds_of_a_kill(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    produce_and_wait(&env, "before");
    for round in 0..3 {
        consumer.kill9();
        consumer = env.consume().spawn();
        produce_and_wait(&env, &format!("after-{round}"));
    }
    stays_running(&mut consumer);
}

fn produce_and_wait(env: &Env, uid: &str) {
    env.log()
        .produce(&env.topic(), &[RawRecord::new(uid, order(uid).to_string())]);
    env.wait_until_applied_within(RECOVERY);
}

fn stays_running(process: &mut Process) {
    assert!(process.is_running(), "{}", process.lines().join("\n"));
}
