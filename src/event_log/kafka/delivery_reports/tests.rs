//! Against the mock cluster of librdkafka: what matters here is who polls, not what Kafka does.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::runtime::{Builder, Runtime};

use crate::event_log::kafka::KafkaLog;
use crate::event_log::{Ack, Durability, EventLog, NewRecord};

const TIMEOUT: Duration = Duration::from_secs(20);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn open_log() -> (Cluster, KafkaLog) {
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    cluster
        .create_topic("orders", 4, 1)
        .expect("the topic is created");
    let log = KafkaLog::open(&cluster.bootstrap_servers(), &[]).expect("the log opens");
    (cluster, log)
}

fn start_runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build();
    runtime.expect("a runtime starts")
}

fn append(log: &KafkaLog, key: usize) -> Ack {
    let key = key.to_string();
    let record = NewRecord {
        topic: "orders",
        key: key.as_bytes(),
        value: Some(b"{}"),
        headers: &[],
    };
    log.append(Durability::Durable, record)
        .expect("the record is accepted")
}

/// Appends, and waits on a thread that may wait for ever.
fn is_acknowledged(log: &KafkaLog, key: usize) -> bool {
    let ack = append(log, key);
    let (sender, outcome) = sync_channel(1);
    thread::spawn(move || sender.send(ack.wait().is_ok()));
    outcome.recv_timeout(TIMEOUT).unwrap_or(false)
}

#[test]
fn every_record_is_acknowledged_on_the_runtime_and_by_a_thread_when_it_has_ended() {
    let (_cluster, log) = open_log();
    let runtime = start_runtime();
    log.warm_up(runtime.handle()).expect("the cluster responds");
    runtime.block_on(async {
        let all = async {
            for batch in 0..20 {
                let keys = batch * 200..(batch + 1) * 200;
                let acks: Vec<Ack> = keys.map(|key| append(&log, key)).collect();
                for ack in acks {
                    ack.await.expect("the cluster has the record");
                }
            }
        };
        let in_time = tokio::time::timeout(TIMEOUT, all).await;
        in_time.expect("every record is acknowledged");
    });
    drop(runtime);
    assert!(is_acknowledged(&log, 4_000), "nobody polls any more");
}

#[test]
fn a_producer_ends_with_its_log() {
    let (_cluster, on_a_runtime) = open_log();
    let (_other_cluster, on_threads) = open_log();
    let runtime = start_runtime();
    on_a_runtime
        .warm_up(runtime.handle())
        .expect("the cluster responds");
    for log in [on_a_runtime, on_threads] {
        assert!(is_acknowledged(&log, 1));
        let selector = log.producers.selector.clone();
        drop(log);
        let deadline = Instant::now() + TIMEOUT;
        while Arc::strong_count(&selector) > 1 {
            assert!(Instant::now() < deadline, "a producer lives on");
            thread::yield_now();
        }
    }
    let metrics = runtime.metrics();
    let deadline = Instant::now() + TIMEOUT;
    while metrics.num_alive_tasks() > 0 {
        assert!(Instant::now() < deadline, "its task lives on");
        thread::yield_now();
    }
}
