//! Appending to the mock cluster of librdkafka: who polls for reports, and which producer is used.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::runtime::{Builder, Runtime};

use super::KafkaLog;
use crate::event_log::{Ack, AppendError, Durability, EventLog, NewRecord};

const TIMEOUT: Duration = Duration::from_secs(20);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn open_log(runtime: Option<&Runtime>) -> (Cluster, KafkaLog) {
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    cluster
        .create_topic("orders", 4, 1)
        .expect("the topic is created");
    let brokers = cluster.bootstrap_servers();
    let log = KafkaLog::open(&brokers, &[], runtime.map(Runtime::handle)).expect("the log opens");
    (cluster, log)
}

fn start_runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build();
    runtime.expect("a runtime starts")
}

fn append(log: &KafkaLog, key: usize) -> Result<Ack, AppendError> {
    let key = key.to_string();
    let record = NewRecord {
        topic: "orders",
        key: key.as_bytes(),
        value: Some(b"{}"),
        headers: &[],
    };
    log.append(Durability::Durable, record)
}

/// Appends, and waits on a thread that may wait for ever.
fn is_acknowledged(log: &KafkaLog, key: usize) -> bool {
    let ack = append(log, key).expect("the record is accepted");
    let (sender, outcome) = sync_channel(1);
    thread::spawn(move || sender.send(ack.wait().is_ok()));
    outcome.recv_timeout(TIMEOUT).unwrap_or(false)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::yield_now();
    }
}

#[test]
fn every_record_is_acknowledged_on_the_runtime_and_by_a_thread_when_it_has_ended() {
    let runtime = start_runtime();
    let (_cluster, log) = open_log(Some(&runtime));
    log.warm_up().expect("the cluster responds");
    runtime.block_on(async {
        let all = async {
            for batch in 0..20 {
                let keys = batch * 200..(batch + 1) * 200;
                let acks: Result<Vec<Ack>, _> = keys.map(|key| append(&log, key)).collect();
                for ack in acks.expect("the records are accepted") {
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
    let runtime = start_runtime();
    for runtime in [Some(&runtime), None] {
        let (_cluster, log) = open_log(runtime);
        assert!(is_acknowledged(&log, 1));
        let selector = log.producers.selector.clone();
        drop(log);
        wait_until("the producer ends", || Arc::strong_count(&selector) == 1);
    }
    let metrics = runtime.metrics();
    wait_until("its task ends", || metrics.num_alive_tasks() == 0);
}

#[test]
fn a_producer_with_a_fatal_error_is_replaced_and_orders_are_accepted_again() {
    let (cluster, log) = open_log(None);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refused]);
    let append = || append(&log, 1)?.wait();
    let first = append();
    assert!(first.is_err(), "the producer was to fail: {first:?}");
    wait_until("orders are accepted again", || append().is_ok());
}
