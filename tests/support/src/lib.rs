//! The support crate of tests, soak test and benchmarks: for each test its own database, topics, groups
//! and folder, and the real binary.
//!
//! Nothing here sleeps for a fixed time: every wait polls every few milliseconds and has a deadline. A
//! failed test prints the stderr of its processes. `tests/run` starts the shared servers; tests
//! that stop or freeze a server start a private one.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ::orders::pipeline::PartitionOffset;
use tempfile::TempDir;

use crate::kafka::RawRecord;

pub mod audit;
pub mod bulk;
pub mod certificates;
pub mod database;
pub mod disk;
pub mod embedded;
pub mod engines;
pub mod failing_disk;
pub mod group_offsets;
pub mod http;
pub mod kafka;
pub mod load_client;
pub mod log;
pub mod orders;
pub mod private;
pub mod process;
pub mod proxy;
pub mod replayable;
pub mod seeds;
pub mod sqlite;

pub use database::Db;
pub use embedded::EmbeddedLog;
pub use engines::Engines;
pub use failing_disk::FailingDisk;
pub use kafka::Kafka;
pub use log::Log;
pub use private::{PrivateKafka, PrivateNginx, PrivatePostgres};
pub use process::{Orders, Process};
pub use sqlite::SqliteFile;

/// How long a test waits for what must happen. Generous, so that a loaded machine with two cores does
/// not fail it.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Calls `attempt` until it succeeds; panics with `what` and the last error after `within`.
#[track_caller]
pub fn eventually_ok<T, E: Display>(
    what: impl Display,
    within: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if Instant::now() > deadline => {
                panic!("not within {within:?}: {what}: {error}")
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Calls `look` until it returns a value; panics with `what` after `within`.
#[track_caller]
pub fn eventually<T>(
    what: impl Display,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    eventually_ok(what, within, || look().ok_or("it did not happen"))
}

/// Waits until the condition is true; panics with `what` after `within`.
#[track_caller]
pub fn wait_until(what: impl Display, within: Duration, mut condition: impl FnMut() -> bool) {
    eventually(what, within, || condition().then_some(()));
}

/// Panics unless `run` returns within that time.
#[track_caller]
pub fn returns_within<T>(limit: Duration, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = run();
    let elapsed = began.elapsed();
    assert!(elapsed < limit, "it took {elapsed:?}");
    value
}

/// The value of a variable that `tests/run` sets.
pub fn required_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/run`, or `tests/run test NAME` for some of the tests")
    })
}

/// The environment of one test. Dropping it drops the database; a failed test prints the stderr of its
/// processes.
pub struct Env {
    name: String,
    /// Brokers, or `embedded`.
    pub brokers: String,
    pub db_url: String,
    /// The server on which the database is dropped at the end; `None` where it is a file.
    server_url: Option<String>,
    pub dir: TempDir,
    /// The folder of the embedded engines.
    data_dir: PathBuf,
    transcripts: Mutex<Vec<process::Transcript>>,
}

impl Env {
    /// A new database without tables, and names for topics that do not exist yet.
    pub fn empty() -> Env {
        Env::on(
            &required_variable("ORDERS_TEST_KAFKA"),
            &required_variable("ORDERS_TEST_PG"),
        )
    }

    /// The same on this Kafka, with the shared PostgreSQL.
    pub fn on_kafka(kafka: &PrivateKafka) -> Env {
        Env::on(&kafka.brokers(), &required_variable("ORDERS_TEST_PG"))
    }

    /// The same on this PostgreSQL, with the shared Kafka.
    pub fn on_postgres(postgres: &PrivatePostgres) -> Env {
        Env::on(&required_variable("ORDERS_TEST_KAFKA"), &postgres.url())
    }

    /// The same on these servers.
    pub fn on(brokers: &str, postgres: &str) -> Env {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let (server, _) = postgres
            .rsplit_once('/')
            .expect("the PostgreSQL URL ends with a database");
        database::connect(postgres)
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("the database of the test can be created");
        Env {
            db_url: format!("{server}/{name}"),
            brokers: brokers.to_owned(),
            server_url: Some(postgres.to_owned()),
            data_dir: PathBuf::new(),
            dir: folder(),
            transcripts: Mutex::default(),
            name,
        }
    }

    /// The embedded engines, in a data folder that does not exist yet. Uses no server.
    pub fn embedded() -> Env {
        let dir = folder();
        let data_dir = dir.path().join("orders-data");
        Env::with_files(dir, data_dir)
    }

    /// The same in a given folder, such as one on a small disk.
    pub fn embedded_in(data_dir: &Path) -> Env {
        Env::with_files(folder(), data_dir.to_owned())
    }

    fn with_files(dir: TempDir, data_dir: PathBuf) -> Env {
        Env {
            name: "t".into(),
            brokers: "embedded".into(),
            db_url: format!("sqlite:{}", data_dir.join("store.db").display()),
            server_url: None,
            dir,
            data_dir,
            transcripts: Mutex::default(),
        }
    }

    pub fn is_embedded(&self) -> bool {
        self.server_url.is_none()
    }

    /// The folder of the embedded engines.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The file of the embedded store.
    pub fn store_file(&self) -> PathBuf {
        self.data_dir.join("store.db")
    }

    /// The file of the embedded log's topic of orders.
    pub fn log_file(&self) -> PathBuf {
        self.data_dir.join("log").join(self.topic() + ".db")
    }

    /// Migrated, with topics of one partition.
    pub fn ready() -> Env {
        Env::empty().prepared(1)
    }

    /// Migrated, with `partitions` partitions of the topic of orders.
    pub fn with_partitions(partitions: i32) -> Env {
        Env::empty().prepared(partitions)
    }

    /// Runs `orders migrate` and `orders create-topics`.
    pub fn prepared(self, partitions: i32) -> Env {
        self.orders(&["migrate"]).run().succeeds();
        self.orders(&["create-topics", "--partitions", &partitions.to_string()])
            .run()
            .succeeds();
        self
    }

    pub fn topic(&self) -> String {
        format!("{}-orders", self.name)
    }

    pub fn lookup_topic(&self) -> String {
        format!("{}-lookup", self.name)
    }

    pub fn found_topic(&self) -> String {
        format!("{}-found", self.name)
    }

    pub fn group(&self) -> String {
        format!("{}-group", self.name)
    }

    pub fn lookup_group(&self) -> String {
        format!("{}-lookups", self.name)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command of the real binary, with only the variables of this test.
    pub fn orders(&self, args: &[&str]) -> Orders<'_> {
        let orders = Orders::new(self, args);
        let orders = if self.is_embedded() {
            // Nothing else is configured, as in most uses of these engines.
            orders.env("ORDERS_DATA_DIR", self.data_dir())
        } else {
            orders
                .env("KAFKA_BROKERS", &self.brokers)
                .env("DB_URL", &self.db_url)
        };
        orders
            .env("KAFKA_TOPIC", self.topic())
            .env("KAFKA_LOOKUP_TOPIC", self.lookup_topic())
            .env("KAFKA_FOUND_TOPIC", self.found_topic())
            .env("KAFKA_GROUP", self.group())
            .env("KAFKA_LOOKUP_GROUP", self.lookup_group())
            .env("HTTP_ADDR", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
    }

    pub fn serve_api(&self) -> Orders<'_> {
        self.orders(&["serve-api"])
    }

    pub fn consume(&self) -> Orders<'_> {
        self.orders(&["consume"])
    }

    /// A running API that is ready.
    pub fn api(&self) -> Process {
        self.serve_api().start()
    }

    /// A running consumer that is ready.
    pub fn consumer(&self) -> Process {
        self.consume().start()
    }

    /// API and consumer in one running process that is ready.
    pub fn up(&self) -> Process {
        self.orders(&["up"]).start()
    }

    pub fn db(&self) -> Db {
        match self.db_url.strip_prefix("sqlite:") {
            Some(file) => Db::open_file(Path::new(file)),
            None => Db::open(&self.db_url),
        }
    }

    /// The log, of either engine.
    pub fn log(&self) -> Log {
        if self.is_embedded() {
            Log::Embedded(EmbeddedLog::new(&self.data_dir().join("log")))
        } else {
            Log::Kafka(self.kafka())
        }
    }

    pub fn kafka(&self) -> Kafka {
        Kafka::new(&self.brokers)
    }

    /// Writes records to the topic of orders, each acknowledged; returns their offsets.
    pub fn produce(&self, records: &[RawRecord]) -> Vec<PartitionOffset> {
        self.log().produce(&self.topic(), records)
    }

    /// Deletes the topic of orders and creates it again, with one partition. An embedded topic must not
    /// be open.
    pub fn recreate_topic(&self) {
        let topic = self.topic();
        match self.log() {
            Log::Kafka(kafka) => {
                kafka.delete_topic(&topic);
                kafka.create_topic(&topic, 1);
            }
            Log::Embedded(log) => {
                log.delete_topic(&topic);
                let args = ["create-topics", "--partitions", "1"];
                self.orders(&args).run().succeeds();
            }
        }
    }

    /// Waits until the positions in the store are at the ends of the topic.
    pub fn wait_until_applied(&self) {
        self.wait_until_applied_within(TIMEOUT);
    }

    pub fn wait_until_applied_within(&self, within: Duration) {
        let (log, mut db, topic) = (self.log(), self.db(), self.topic());
        let what = format!("every record of `{topic}` to be applied");
        eventually_ok(what, within, || {
            let ends: i64 = log.ends(&topic).iter().sum();
            let applied = db.applied();
            let is_applied = applied == ends;
            is_applied
                .then_some(())
                .ok_or_else(|| format!("{applied} of {ends}"))
        });
    }

    fn record_transcript(&self, transcript: process::Transcript) {
        let transcripts = self.transcripts.lock();
        transcripts
            .expect("no panic while it is held")
            .push(transcript);
    }
}

fn folder() -> TempDir {
    TempDir::with_prefix("orders-test-").expect("a temporary folder can be made")
}

impl Drop for Env {
    fn drop(&mut self) {
        if thread::panicking() {
            let transcripts = self.transcripts.lock();
            for transcript in transcripts.expect("no panic while it is held").iter() {
                println!("{transcript}");
            }
        }
        let Some(server_url) = &self.server_url else {
            return;
        };
        // FORCE: the connection of a killed process may still exist. A private server may be down.
        if let Ok(mut client) = postgres::Client::connect(server_url, postgres::NoTls) {
            let _ = client.batch_execute(&format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                self.name
            ));
        }
    }
}
