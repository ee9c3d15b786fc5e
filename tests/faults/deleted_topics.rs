//! The topic deleted and made again, grown, or gone: nothing new is skipped, nothing goes back.

use std::time::Duration;

use crate::env::Env;
use crate::env::kafka::Outgoing;
use crate::env::orders::order_version;

const RECOVERY: Duration = Duration::from_secs(60);

fn orders(prefix: &str, count: u32, accepted_at_us: i64) -> Vec<Outgoing> {
    (0..count)
        .map(|number| {
            let uid = format!("{prefix}-{number}");
            Outgoing::new(uid.as_str(), order_version(&uid, 1).to_string())
                .header("accepted-at", accepted_at_us.to_string())
        })
        .collect()
}

#[test]
fn a_topic_made_again_while_the_consumer_runs_and_grown_past_its_position_is_read_from_the_start() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    env.kafka()
        .produce(&env.topic(), &orders("old", 100, 1_000_000));
    env.wait_until_applied();

    // Frozen, so that the new topic is past the old position before it can look.
    consumer.freeze();
    env.kafka().delete_topic(&env.topic());
    env.kafka().create_topic(&env.topic(), 1);
    env.kafka()
        .produce(&env.topic(), &orders("new", 500, 2_000_000));
    consumer.thaw();

    let mut db = env.db();
    db.eventually_within(
        "SELECT count(*) FROM orders WHERE order_uid LIKE 'new-%'",
        500,
        RECOVERY,
    );
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|500");
    assert_eq!(
        db.text("SELECT epoch, from_offset, to_offset FROM log_gaps"),
        "2|100|"
    );
    assert_eq!((db.count("orders"), db.count("dead_letters")), (600, 0));
    assert!(consumer.is_running());
}

#[test]
fn a_topic_made_again_under_a_running_consumer_is_read_on_without_a_restart() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    env.kafka()
        .produce(&env.topic(), &orders("old", 50, 1_000_000));
    env.wait_until_applied();
    env.kafka().delete_topic(&env.topic());
    env.kafka().create_topic(&env.topic(), 1);
    env.kafka()
        .produce(&env.topic(), &orders("new", 5, 2_000_000));
    let mut db = env.db();
    db.eventually_within("SELECT count(*) FROM orders", 55, RECOVERY);
    db.eventually("SELECT epoch, next_offset FROM log_positions", "2|5");
    assert!(consumer.is_running());
}

#[test]
fn partitions_added_to_a_running_topic_are_read() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &orders("one", 10, 1));
    env.wait_until_applied();
    env.kafka().grow_topic(&env.topic(), 3);
    for partition in 1..3 {
        let records: Vec<Outgoing> = orders(&format!("p{partition}"), 10, 1)
            .into_iter()
            .map(|record| record.to(partition))
            .collect();
        env.kafka().produce(&env.topic(), &records);
    }
    // The client looks for new partitions every 30 s.
    env.db()
        .eventually_within("SELECT count(*) FROM orders", 30, RECOVERY);
    assert!(consumer.is_running());
}
