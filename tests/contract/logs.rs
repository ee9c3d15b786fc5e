//! The logs under test: each engine, with access to it besides the trait.

use std::sync::Arc;

use orders::event_log::kafka::KafkaLog;
use orders::event_log::sqlite::{Reach, SqliteLog};
use orders::event_log::{
    Ack, Appended, Durability, EventLog, NewRecord, TopicAdmin, TopicSpec, TopicState,
};
use support::{EmbeddedLog, Env, TIMEOUT, eventually};
use tempfile::TempDir;

/// A log, and names of its own in it.
pub struct Subject {
    pub log: Arc<dyn EventLog>,
    pub admin: Arc<dyn TopicAdmin>,
    engine: Engine,
    name: String,
}

enum Engine {
    Kafka(Box<Env>),
    Sqlite(TempDir),
}

impl Subject {
    pub fn kafka() -> Subject {
        Subject::on(Engine::Kafka(Box::new(Env::empty())))
    }

    pub fn sqlite() -> Subject {
        let folder =
            TempDir::with_prefix("orders-log-").expect("a temporary folder can be created");
        Subject::on(Engine::Sqlite(folder))
    }

    fn on(engine: Engine) -> Subject {
        let (log, admin) = engine.open();
        Subject {
            log,
            admin,
            name: format!("t{}", uuid::Uuid::new_v4().simple()),
            engine,
        }
    }

    /// Another client of the same log, as another process would have it.
    pub fn another(&self) -> Arc<dyn EventLog> {
        self.engine.open().0
    }

    pub fn topic(&self, partitions: i32) -> String {
        let topic = format!("{}-orders", self.name);
        self.create(&topic, partitions);
        topic
    }

    pub fn group(&self) -> String {
        format!("{}-group", self.name)
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.create_with(topic, partitions, &[]);
    }

    pub fn create_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let spec = TopicSpec {
            name: topic.to_owned(),
            partitions,
            replication_factor: 1,
            settings: settings.collect(),
        };
        self.admin
            .create_topics(&[spec])
            .expect("the topic can be created");
        self.until("the topic is there", || self.log.topic(topic).ok());
    }

    /// Deletes the topic, by other means than the log's.
    pub fn delete_topic(&self, topic: &str) {
        match &self.engine {
            Engine::Kafka(env) => env.kafka().delete_topic(topic),
            Engine::Sqlite(folder) => {
                EmbeddedLog::new(&folder.path().join("log")).delete_topic(topic)
            }
        }
    }

    pub fn state(&self, topic: &str) -> TopicState {
        self.log.topic(topic).expect("the log responds")
    }

    pub fn append(&self, topic: &str, key: &str, value: &str) -> Appended {
        append(&*self.log, topic, key, value)
    }

    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        eventually(what, TIMEOUT, look)
    }
}

impl Engine {
    fn open(&self) -> (Arc<dyn EventLog>, Arc<dyn TopicAdmin>) {
        match self {
            Engine::Kafka(env) => {
                both(KafkaLog::open(&env.brokers, &[], None).expect("the settings are right"))
            }
            Engine::Sqlite(folder) => both(SqliteLog::open(
                &folder.path().join("log"),
                Reach::OtherProcesses,
            )),
        }
    }
}

fn both(log: impl EventLog + TopicAdmin + 'static) -> (Arc<dyn EventLog>, Arc<dyn TopicAdmin>) {
    let log = Arc::new(log);
    (log.clone(), log)
}

/// Sends a record without waiting for its acknowledgement.
pub fn send(log: &dyn EventLog, topic: &str, key: &str, value: &str) -> Ack {
    let record = NewRecord {
        topic,
        key: key.as_bytes(),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    log.append(Durability::Durable, record)
        .expect("the record is sent")
}

/// Appends a record and waits for its acknowledgement.
pub fn append(log: &dyn EventLog, topic: &str, key: &str, value: &str) -> Appended {
    send(log, topic, key, value)
        .wait()
        .expect("the record is acknowledged")
}

/// The value of a record that a test wrote.
pub fn value(record: &orders::pipeline::Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap_or_default()).expect("the tests write text")
}
