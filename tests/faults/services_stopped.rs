//! SIGTERM to both services while orders keep coming.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::auditor::{Poster, Record, Task, audit};
use support::private::free_port;
use support::{Env, PATIENCE};

#[test]
fn both_services_drain_under_load_and_lose_nothing() {
    let env = Env::with_partitions(2);
    let port = format!("127.0.0.1:{}", free_port());
    let mut api = env.serve_api().env("HTTP_ADDR", &port).start();
    let mut consumer = env.consumer();
    let posters: Vec<Poster> = (0..4)
        .map(|number| {
            let prefix = format!("drain{number}");
            let task = Task {
                authority: port.clone(),
                prefix,
                orders: 1000,
                poison_every: 0,
            };
            Poster::start(&env, &task)
        })
        .collect();
    for poster in &posters {
        poster.wait_for_accepted(200, PATIENCE);
    }

    let asked = Instant::now();
    consumer.signal(Signal::TERM);
    api.signal(Signal::TERM);
    assert_eq!(api.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(consumer.wait_exit(PATIENCE).code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        asked.elapsed()
    );

    let _api = env.serve_api().env("HTTP_ADDR", &port).start();
    let _consumer = env.consumer();
    let records = posters
        .into_iter()
        .map(|poster| poster.finish(PATIENCE * 2));
    let record = records.reduce(Record::merge).expect("there were posters");
    env.wait_until_applied();
    audit(&env, &record);
}

#[test]
fn an_idle_service_stops_at_once() {
    let env = Env::ready();
    for mut service in [env.api(), env.consumer()] {
        let asked = Instant::now();
        assert_eq!(service.stop().code(), Some(0));
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "it took {:?}",
            asked.elapsed()
        );
    }
}
