//! Consumers that join and leave while orders keep coming.

use std::time::Duration;

use crate::env::auditor::{Poster, Task, audit};
use crate::env::kafka::Outgoing;
use crate::env::orders::order;
use crate::env::{Env, PATIENCE};

#[test]
fn consumers_join_and_leave_under_load_and_every_order_is_stored_once() {
    let env = Env::with_partitions(4);
    let api = env.api();
    let mut first = env.consumer();
    let task = Task {
        authority: api.url(),
        prefix: "load".into(),
        orders: 4000,
        poison_every: 40,
    };
    let poster = Poster::start(&env, &task);
    let far = Duration::from_secs(60);

    poster.wait_for_accepted(500, far);
    let mut second = env.consumer();
    poster.wait_for_accepted(1200, far);
    assert_eq!(first.stop().code(), Some(0));
    poster.wait_for_accepted(2000, far);
    let mut third = env.consumer();
    poster.wait_for_accepted(2800, far);
    assert_eq!(second.stop().code(), Some(0));
    let record = poster.finish(far);

    env.wait_until_applied();
    audit(&env, &record);
    assert_eq!(env.db().count("dead_letters"), 0);
    assert_eq!(third.stop().code(), Some(0));
}

#[test]
fn partitions_are_shared_between_two_consumers() {
    let env = Env::with_partitions(4);
    let _first = env.consumer();
    let _second = env.consumer();
    let records: Vec<Outgoing> = (0..400)
        .map(|number| {
            let uid = format!("shared-{number}");
            Outgoing::new(uid.as_str(), order(&uid).to_string()).to(number % 4)
        })
        .collect();
    env.kafka().produce(&env.topic(), &records);
    env.wait_until_applied();
    let mut db = env.db();
    assert_eq!(db.count("orders"), 400);
    // Every take writes its own owner: two processes hold two partitions each, sooner or later.
    db.eventually_within(
        "SELECT count(*) FROM log_positions WHERE next_offset = 100",
        4,
        PATIENCE,
    );
}
