//! Kafka writes an order, and its acknowledgement is lost.

use std::thread;

use support::Env;
use support::private::PrivateKafka;

use super::{Outcome, Posted};

#[test]
fn an_order_whose_acknowledgement_is_lost_is_in_the_log_once_and_never_answered_not_accepted() {
    let (kafka, [proxy]) = PrivateKafka::behind_proxies("");
    let env = Env::on_kafka(&kafka).prepared(2);
    let through = proxy.address().to_string();
    let api = env.serve_api().env("KAFKA_BROKERS", &through).start();
    let mut posted = Posted::default();
    posted.at_once(&api, "before", 5);

    // Lost with its connection: the client sends the record again on another, and the broker knows it.
    for round in 0..3 {
        proxy.drop_next_reply();
        thread::scope(|scope| {
            scope.spawn(|| posted.at_once(&api, &format!("cut{round}"), 20));
            proxy.wait_until_reply_is_dropped();
            proxy.close_connections();
        });
    }
    assert_eq!(posted.count("cut", Outcome::Accepted), 60);

    // Lost while the connection stays open: the outcome is unknown.
    proxy.drop_next_reply();
    posted.at_once(&api, "kept", 1);
    proxy.wait_until_reply_is_dropped();
    assert_eq!(posted.count("kept", Outcome::Unknown), 1);
    let log = env.kafka().read_all(&env.topic());
    assert!(log.iter().any(|record| record.key_text() == "kept-0"));
    proxy.close_connections();

    posted.all_accepted(&api, "after", 20);
    posted.audit(&env);
    let _consumer = env.consumer();
    env.wait_until_applied();
    let stored = env.db().count("orders");
    assert_eq!(stored, 5 + 60 + 1 + 20);
}
