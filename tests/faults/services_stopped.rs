//! SIGTERM to both services under load.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::audit::audit;
use support::load_client::Workload;
use support::private::free_port;
use support::{Env, TIMEOUT};

#[test]
fn both_services_drain_under_load_and_lose_nothing() {
    let env = Env::with_partitions(2);
    let port = format!("127.0.0.1:{}", free_port());
    let mut api = env.serve_api().env("HTTP_ADDR", &port).start();
    let mut consumer = env.consumer();
    let clients = Workload::new(&port).orders(1000).start(&env, 4);
    clients.wait_for_each(200, TIMEOUT);

    let asked = Instant::now();
    consumer.signal(Signal::TERM);
    api.signal(Signal::TERM);
    assert_eq!(api.wait_exit(TIMEOUT).code(), Some(0));
    assert_eq!(consumer.wait_exit(TIMEOUT).code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        asked.elapsed()
    );

    let _api = env.serve_api().env("HTTP_ADDR", &port).start();
    let _consumer = env.consumer();
    let answers = clients.finish(TIMEOUT * 2);
    env.wait_until_applied();
    audit(&env, &answers);
}

#[test]
fn an_idle_service_stops_at_once() {
    let env = Env::ready();
    for mut service in [env.api(), env.consumer()] {
        service.stop_within(Duration::from_secs(3));
    }
}
