//! A full disk of the broker: it halts, and restarts when there is space.

use support::Env;
use support::audit::{audit_answers, audit_offsets};
use support::disk::SmallDisk;
use support::private::PrivateKafka;

use super::{Outcome, Posted, RECOVERY};

#[test]
fn orders_are_refused_while_the_disk_of_kafka_is_full() {
    let disk = SmallDisk::mount(64);
    // A broker that crashed is registered again after the timeout of its old session.
    let settings = "broker.session.timeout.ms=3000";
    let mut kafka = PrivateKafka::with_data_in(disk.path().join("data"), settings);
    let env = Env::on_kafka(&kafka).prepared(2);
    let (mut api, mut consumer) = (env.api(), env.consumer());
    let mut posted = Posted::default();
    posted.all_accepted(&api, "before", 50);

    disk.fill();
    posted.at_once(&api, "full", 50);
    kafka.wait_until_halted();
    api.wait_until_unready("log");
    posted.at_once(&api, "halted", 50);
    assert_eq!(posted.count("halted", Outcome::Accepted), 0);

    disk.free();
    kafka.restart();
    api.wait_ready_within(RECOVERY);
    posted.until_accepted(&api, "again");
    posted.all_accepted(&api, "after", 50);
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    posted.audit(&env);
    audit_offsets(&env);
    audit_answers(&env, &api.url());
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}
