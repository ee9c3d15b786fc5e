//! A broker that holds its connections open and says nothing.

use std::time::{Duration, Instant};

use crate::env::auditor::{Poster, Task, audit};
use crate::env::orders::order;
use crate::env::private::PrivateKafka;
use crate::env::{Env, given, http};

#[test]
fn posts_to_a_frozen_broker_end_within_the_deadline_and_every_202_is_in_the_log_after_the_thaw() {
    let kafka = PrivateKafka::start();
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(2);
    let (api, consumer) = (env.api(), env.consumer());
    let url = format!("{}/orders", api.url());
    let posters: Vec<Poster> = (0..4)
        .map(|number| {
            let prefix = format!("frozen{number}");
            Poster::start(
                &env,
                &Task {
                    authority: api.url(),
                    prefix,
                    orders: 600,
                    poison_every: 0,
                },
            )
        })
        .collect();
    for poster in &posters {
        poster.wait_for_accepted(100, Duration::from_secs(30));
    }
    let before = api.resident_bytes();

    kafka.freeze();
    std::thread::scope(|scope| {
        for number in 0..100 {
            let url = &url;
            scope.spawn(move || {
                let asked = Instant::now();
                let answer = http::post(url, order(&format!("while-frozen-{number}")).to_string());
                assert_eq!(answer.status, 503, "{}", answer.text());
                assert!(answer.text().contains("\"outcome\""), "{}", answer.text());
                assert!(
                    asked.elapsed() < Duration::from_secs(9),
                    "it took {:?}",
                    asked.elapsed()
                );
            });
        }
    });
    assert!(
        api.resident_bytes() < before + 50_000_000,
        "{before} bytes became {}",
        api.resident_bytes()
    );
    kafka.thaw();

    let records = posters
        .into_iter()
        .map(|poster| poster.finish(Duration::from_secs(120)));
    let record = records
        .reduce(|all, one| all.merge(one))
        .expect("there were posters");
    env.wait_until_applied();
    audit(&env, &record);
    consumer.wait_ready();
    api.wait_ready();
}

#[test]
fn a_get_while_the_broker_is_frozen_says_that_it_cannot_know() {
    let kafka = PrivateKafka::start();
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    assert_eq!(
        http::post(
            &format!("{}/orders", api.url()),
            order("cached").to_string()
        )
        .status,
        202
    );
    kafka.freeze();
    let cached = crate::env::eventually("a marked hit", Duration::from_secs(30), || {
        let answer = http::get(&format!("{}/api/order/cached", api.url()));
        assert_eq!(answer.status, 200);
        let marked = answer
            .header("cache-status")
            .is_some_and(|status| status.contains("unverified"));
        marked.then_some(answer)
    });
    assert_eq!(cached.json(), order("cached"));
    let unknown = http::get(&format!("{}/api/order/never-heard-of", api.url()));
    assert!(
        matches!(unknown.status, 202 | 503),
        "{}: {}",
        unknown.status,
        unknown.text()
    );
    kafka.thaw();
}
