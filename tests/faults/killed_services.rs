//! kill -9, in any order, at any moment.

use std::time::{Duration, Instant};

use crate::env::auditor::{Poster, Task, audit};
use crate::env::kafka::Outgoing;
use crate::env::private::free_port;
use crate::env::{Env, Process};

/// From a kill until things go again.
const RECOVERY: Duration = Duration::from_secs(30);

#[test]
fn consumers_and_api_killed_among_twenty_thousand_orders_lose_and_double_nothing() {
    let env = Env::with_partitions(4);
    let port = format!("127.0.0.1:{}", free_port());
    let api = || env.serve_api().env("HTTP_ADDR", &port).start();
    let mut running = api();
    let mut consumers = vec![env.consumer(), env.consumer()];
    let posters: Vec<Poster> = (0..4)
        .map(|number| {
            let prefix = format!("poster{number}");
            Poster::start(
                &env,
                &Task {
                    authority: port.clone(),
                    prefix,
                    orders: 5000,
                    poison_every: 50,
                },
            )
        })
        .collect();
    let accepted = || posters.iter().map(Poster::accepted).sum::<usize>();
    let mut poisoned = 0;
    for kill in 0..8 {
        // Well in the middle: at least another 2,000 orders since the last kill.
        let goal = (kill + 1) * 2000;
        let waiting = Instant::now();
        while accepted() < goal {
            assert!(
                waiting.elapsed() < RECOVERY * 2,
                "{} of {goal} orders after kill {kill}",
                accepted()
            );
            // Poison that another program wrote, between the orders.
            env.kafka()
                .produce(&env.topic(), &[Outgoing::new("poison", "not an order")]);
            poisoned += 1;
        }
        if kill % 2 == 0 {
            let index = (kill / 2) % consumers.len();
            consumers[index].kill9();
            consumers[index] = env.consume().spawn();
        } else {
            running.kill9();
            running = api();
        }
    }
    let record = posters
        .into_iter()
        .map(|poster| poster.finish(RECOVERY * 4))
        .reduce(|all, one| all.merge(one));
    env.wait_until_applied_within(RECOVERY * 2);
    audit(&env, &record.expect("there were posters"));
    assert_eq!(env.db().count("dead_letters"), poisoned);
}

#[test]
fn after_a_killed_consumer_the_next_one_stores_within_thirty_seconds() {
    let env = Env::ready();
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
    env.kafka().produce(
        &env.topic(),
        &[Outgoing::new(
            uid,
            crate::env::orders::order(uid).to_string(),
        )],
    );
    env.wait_until_applied_within(RECOVERY);
}

fn stays_running(process: &mut Process) {
    assert!(process.is_running(), "{}", process.lines().join("\n"));
}
