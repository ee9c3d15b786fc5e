//! Three brokers: topics wait for the last of them, orders survive the loss of one, and are refused after
//! the loss of two.

use std::thread;

use support::audit::{audit_answers, audit_offsets};
use support::private::PrivateKafka;
use support::process::Output;
use support::{Env, required_variable};

use super::{Outcome, Posted, RECOVERY};

/// A broker that is killed counts as gone after this session; the offsets of groups survive it, too.
const SETTINGS: &str = "\
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=3";

fn create_topics(env: &Env, wait: &str) -> Output {
    let args = [
        "create-topics",
        "--partitions",
        "2",
        "--replication-factor",
        "3",
        "--wait",
        wait,
    ];
    env.orders(&args).run()
}

#[test]
fn orders_survive_the_loss_of_one_broker_of_three_and_are_refused_after_the_loss_of_two() {
    let mut brokers: [PrivateKafka; 3] = PrivateKafka::cluster(SETTINGS);
    let addresses = brokers.each_ref().map(PrivateKafka::brokers).join(",");
    let env = Env::on(&addresses, &required_variable("ORDERS_TEST_PG"));
    let [first, second, third] = &mut brokers;
    first.restart_without_waiting();
    second.restart_without_waiting();
    env.orders(&["migrate"]).run().succeeds();
    second.wait_until_up();
    first.wait_until_up();

    let refused = create_topics(&env, "1s").exits(2);
    let refused = refused.reports("waiting for brokers: 3 replicas need 3 brokers, and 2 respond");
    refused.reports(
        "error: `--replication-factor` is 3, and the cluster has 2 broker(s)\n\
         hint: request fewer replicas, or add brokers\n",
    );
    let topics = [env.topic(), env.lookup_topic(), env.found_topic()];
    for topic in &topics {
        assert_eq!(env.kafka().partitions(topic), 0, "{topic}");
    }
    third.restart_without_waiting();
    let created = create_topics(&env, "30s").succeeds();
    let rows = created.stdout.lines().skip(1);
    let replicas: Vec<_> = rows.map(|row| row.split_whitespace().nth(2)).collect();
    assert_eq!(replicas, [Some("3"); 3], "{}", created.stdout);
    third.wait_until_up();

    let (mut api, mut consumer) = thread::scope(|scope| {
        let consumer = scope.spawn(|| env.consumer());
        (env.api(), consumer.join().expect("it starts"))
    });
    let mut posted = Posted::default();
    posted.all_accepted(&api, "three", 50);

    second.kill9();
    posted.at_once(&api, "second-killed", 50);
    posted.until_accepted(&api, "two");
    posted.all_accepted(&api, "by-two", 50);

    third.kill9();
    posted.at_once(&api, "third-killed", 50);
    assert_eq!(posted.count("third-killed", Outcome::Accepted), 0);

    second.restart_without_waiting();
    third.restart_without_waiting();
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
