//! The bare limits: the smallest program that does the same work with the same libraries, or the
//! benchmark tool of Kafka or PostgreSQL.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use support::{Env, required_variable};
use tokio::sync::oneshot;

/// A bare server, in a process of its own.
pub struct Limit {
    child: Child,
    url: String,
}

impl Limit {
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Starts this program again as the named bare server.
pub fn start(name: &str, variables: &[(&str, &String)]) -> Limit {
    let mut child = Command::new(std::env::current_exe().expect("a program knows itself"))
        .arg(format!("--limit={name}"))
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let mut url = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout)
        .read_line(&mut url)
        .expect("the bare server prints its URL");
    Limit {
        child,
        url: url.trim_end().to_owned(),
    }
}

/// Serves until killed.
pub fn serve(name: &str) {
    match name {
        "tiny" => serve_tiny(&variable("BODY")),
        "fixed" => serve_axum(fixed(variable("BODY"))),
        "produce" => serve_axum(produce(&variable("KAFKA_BROKERS"), variable("TOPIC"))),
        unknown => panic!("no bare server is called `{unknown}`"),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn serve_axum(app: Router) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        println!(
            "http://{}",
            listener
                .local_addr()
                .expect("a bound socket has an address")
        );
        axum::serve(listener, app).await.expect("axum serves");
    });
}

/// Any GET, the same bytes.
fn fixed(body: String) -> Router {
    let body = Bytes::from(body);
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body) };
    Router::new().route("/{*path}", get(answer))
}

/// Passes each acknowledgement to its waiting request.
struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<oneshot::Sender<bool>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let _ = waiting.send(result.is_ok());
    }
}

type Bare = (Arc<ThreadedProducer<Acks>>, Arc<str>);

/// POST /orders: the body goes into the topic without a check, 202 when all replicas have it.
fn produce(brokers: &str, topic: String) -> Router {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .set("max.in.flight", "2")
        .create_with_context(Acks)
        .expect("the client's settings are valid");
    let state: Bare = (Arc::new(producer), Arc::from(topic));
    Router::new()
        .route("/orders", post(produce_one))
        .with_state(state)
}

async fn produce_one(State((producer, topic)): State<Bare>, body: Bytes) -> StatusCode {
    let (sender, acknowledged) = oneshot::channel();
    let record: BaseRecord<'_, (), [u8], _> =
        BaseRecord::with_opaque_to(&topic, Box::new(sender)).payload(&body);
    match producer.send(record) {
        Ok(()) if acknowledged.await == Ok(true) => StatusCode::ACCEPTED,
        Ok(()) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn serve_tiny(body: &str) {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a port is free"));
    println!("http://{}", server.server_addr());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (server, body) = (server.clone(), body.to_owned());
            std::thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    let _ = request.respond(tiny_http::Response::from_string(body.clone()));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

/// Messages a second of Kafka's own producer, 1 kB each, acknowledged by all replicas.
pub fn producer_performance(env: &Env, topic: &str) -> f64 {
    let options = "--num-records 300000 --record-size 1000 --throughput -1";
    let output = Command::new("java")
        .args(["-Xmx512m", "-cp"])
        .arg(format!("{}/*", required_variable("ORDERS_TEST_KAFKA_LIBS")))
        .args([
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic",
            topic,
        ])
        .args(options.split(' '))
        .args(["--bootstrap-server", &env.brokers])
        .args(["--command-property", "acks=all"])
        .output()
        .expect("java can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    // The last line is the summary: `300000 records sent, 29123.4 records/sec (…`.
    let summary = text.lines().last().unwrap_or_default();
    let rate = summary
        .split(", ")
        .nth(1)
        .and_then(|rate| rate.split(' ').next());
    rate.and_then(|rate| rate.parse().ok())
        .unwrap_or_else(|| panic!("ProducerPerformance printed no rate: {output:?}"))
}

/// Orders a second of COPY: 30,000 orders with two items each into the four tables, indexes and
/// foreign keys as they are, one connection, one transaction; the median of three.
pub fn copy_orders_per_second(env: &Env) -> f64 {
    const ORDERS: u32 = 30_000;
    let mut rates: Vec<f64> = (0..3)
        .map(|run| f64::from(ORDERS) / copy(env, run, ORDERS).as_secs_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[1]
}

/// Each table with its columns, the number of rows per order, and a row without its uid.
const TABLES: [(&str, u32, &str); 4] = [
    (
        "orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, \
         shardkey, sm_id, date_created, oof_shard)",
        1,
        "TRACK-1\tWBIL\ten\t\ttest\tmeest\t9\t99\t2021-11-26T06:22:19Z\t1",
    ),
    (
        "delivery (order_uid, name, phone, zip, city, address, region, email)",
        1,
        "Test Testov 1\t+9720000000\t2639809\tKiryat Mozkin\tPloshad Mira 15\tKraiot\ttest@gmail.com",
    ),
    (
        "payment (order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, \
         delivery_cost, goods_total, custom_fee)",
        1,
        "copied\t\tUSD\twbpay\t1\t1637907727\talpha\t1500\t317\t0",
    ),
    (
        "items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status)",
        2,
        "9934930\tTRACK-1\t453\tcopied-1-0\tMascaras\t30\t0\t317\t2389212\tVivienne Sabo\t202",
    ),
];

fn copy(env: &Env, run: u32, orders: u32) -> Duration {
    let rows_of = |(table, each, row)| (table, rows(run, orders, each, row));
    let tables = TABLES.map(rows_of);
    let mut db = env.db();
    let started = Instant::now();
    let mut transaction = db.client().transaction().expect("a transaction begins");
    for (table, rows) in &tables {
        let copy = transaction.copy_in(&format!("COPY {table} FROM STDIN"));
        let mut writer = copy.expect("COPY begins");
        let written = writer.write_all(rows.as_bytes());
        written.expect("the rows are accepted");
        writer.finish().expect("COPY ends");
    }
    transaction.commit().expect("the transaction commits");
    started.elapsed()
}

fn rows(run: u32, orders: u32, each: u32, row: &str) -> String {
    let line = |number: u32| format!("copied-{run}-{:07}\t{row}\n", number / each);
    (0..orders * each).map(line).collect()
}
