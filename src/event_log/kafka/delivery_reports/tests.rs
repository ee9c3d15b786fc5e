//! Against the mock cluster that librdkafka brings: what matters here is who polls, not what Kafka does.

use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Runtime};

use super::super::{DefaultProducerContext, KafkaLog, MockCluster};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn log() -> (Cluster, KafkaLog) {
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    cluster
        .create_topic("orders", 4, 1)
        .expect("the topic is made");
    let log = KafkaLog::open(&cluster.bootstrap_servers(), &[]).expect("the log opens");
    (cluster, log)
}

fn runtime() -> Runtime {
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
        .expect("the record is taken")
}

/// Appends, and waits on a thread that may wait for ever.
fn acknowledged(log: &KafkaLog, key: usize) -> bool {
    let ack = append(log, key);
    let (sender, answer) = sync_channel(1);
    thread::spawn(move || sender.send(ack.wait().is_ok()));
    answer.recv_timeout(PATIENCE).unwrap_or(false)
}

#[test]
fn every_record_is_acknowledged_on_the_runtime_and_by_a_thread_when_it_has_ended() {
    let (_cluster, log) = log();
    let runtime = runtime();
    runtime.block_on(async {
        let all = async {
            for heap in 0..20 {
                let acks: Vec<Ack> = (0..200).map(|key| append(&log, heap * 200 + key)).collect();
                for ack in acks {
                    ack.await.expect("the cluster has the record");
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, all).await;
        in_time.expect("every record is acknowledged");
    });
    drop(runtime);
    assert!(acknowledged(&log, 4_000), "nobody polls any more");
}

#[test]
fn a_producer_is_gone_when_its_log_is() {
    let (_cluster, on_a_runtime) = log();
    let (_other_cluster, on_threads) = log();
    let runtime = runtime();
    {
        let _entered = runtime.enter();
        assert!(acknowledged(&on_a_runtime, 1));
    }
    assert!(acknowledged(&on_threads, 1));
    for log in [on_a_runtime, on_threads] {
        let ways = log.producers.ways.clone();
        drop(log);
        let until = Instant::now() + PATIENCE;
        while Arc::strong_count(&ways) > 1 {
            assert!(Instant::now() < until, "a producer lives on");
            thread::yield_now();
        }
    }
    let tasks = runtime.metrics();
    let until = Instant::now() + PATIENCE;
    while tasks.num_alive_tasks() > 0 {
        assert!(Instant::now() < until, "its task lives on");
        thread::yield_now();
    }
}
