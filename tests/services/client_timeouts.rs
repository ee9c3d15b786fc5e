//! Clients that time out before the answer and post the next version of their order.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::http::Connection;
use support::orders::order_version;
use support::private::PrivateKafka;
use support::{Env, Process, wait_until};

use super::RECOVERY;

/// Enough for their orders to be sent in batches while Kafka delays them.
const CLIENTS: usize = 96;

/// After this time a client abandons a version.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);

#[test]
fn an_abandoned_version_is_never_written_after_the_next_one() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(2);
    let api = env.api();
    let clients = Clients::default();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (api, clients) = (&api, &clients);
            scope.spawn(move || clients.post_versions(api, &format!("client-{number}")));
        }
        for _ in 0..4 {
            clients.wait_for_more(&clients.accepted);
            kafka.freeze();
            // Some versions are sent to the broker, others wait in the API.
            clients.wait_for_more(&clients.abandoned);
            clients.wait_for_more(&clients.abandoned);
            kafka.thaw();
        }
        clients.wait_for_more(&clients.accepted);
        clients.stop.store(true, Ordering::Relaxed);
    });
    let mut written: HashMap<String, u32> = HashMap::new();
    for record in env.kafka().read_all(&env.topic()) {
        let order: serde_json::Value =
            serde_json::from_slice(&record.value.unwrap_or_default()).expect("an order is JSON");
        let version = order["payment"]["amount"].as_u64().expect("a version") as u32;
        let uid = order["order_uid"].as_str().expect("a uid").to_owned();
        let before = written.insert(uid.clone(), version).unwrap_or_default();
        assert!(
            before < version,
            "version {version} of `{uid}` was written after version {before}"
        );
    }
    assert_eq!(written.len(), CLIENTS);
    api.assert_bounded();
}

#[derive(Default)]
struct Clients {
    accepted: AtomicUsize,
    abandoned: AtomicUsize,
    stop: AtomicBool,
}

impl Clients {
    /// Posts one version after another, each as soon as the previous one is accepted or abandoned.
    fn post_versions(&self, api: &Process, uid: &str) {
        let mut connection = None;
        let mut version = 0;
        while !self.stop.load(Ordering::Relaxed) {
            version += 1;
            let body = order_version(uid, version).to_string();
            let kept = connection.get_or_insert_with(|| {
                let opened = Connection::open(&api.url()).expect("the API takes connections");
                opened.with_timeout(CLIENT_TIMEOUT)
            });
            match kept.post("/orders", body.as_bytes()) {
                Ok(answer) => {
                    assert_eq!(answer.status, 202, "{}", answer.text());
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    self.abandoned.fetch_add(1, Ordering::Relaxed);
                    connection = None;
                }
            }
        }
    }

    /// Waits until the count has grown by one for each client.
    fn wait_for_more(&self, count: &AtomicUsize) {
        let wanted = count.load(Ordering::Relaxed) + CLIENTS;
        wait_until("the clients to continue", RECOVERY, || {
            count.load(Ordering::Relaxed) >= wanted
        });
    }
}
