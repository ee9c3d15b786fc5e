//! The embedded log as a test uses it: written by the library of the program, as no other program
//! writes to it, and read by plain SQL, as any program may.

use std::path::{Path, PathBuf};

use orders::event_log::sqlite::{Reach, SqliteLog};
use orders::event_log::{Durability, EventLog, NewRecord};
use orders::pipeline::PartitionOffset;
use rusqlite::Row;

use crate::SqliteFile;
use crate::kafka::{RawRecord, StoredRecord};

/// The folder of an embedded log.
pub struct EmbeddedLog(PathBuf);

impl EmbeddedLog {
    pub fn new(folder: &Path) -> EmbeddedLog {
        EmbeddedLog(folder.to_owned())
    }

    pub fn file(&self, topic: &str) -> SqliteFile {
        SqliteFile::new(&self.0.join(format!("{topic}.db")))
    }

    /// Writes records in order, each acknowledged; returns where each is. The key
    /// determines the partition.
    pub fn produce(&self, topic: &str, records: &[RawRecord]) -> Vec<PartitionOffset> {
        let log = SqliteLog::open(&self.0, Reach::OtherProcesses);
        let mut places = Vec::new();
        for some in records.chunks(1000) {
            let append = |record: &RawRecord| {
                let headers: Vec<(&str, &[u8])> = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_slice()))
                    .collect();
                let new = NewRecord {
                    topic,
                    key: record.key.as_deref().unwrap_or_default(),
                    value: record.value.as_deref(),
                    headers: &headers,
                };
                let ack = log.append(Durability::Durable, new);
                ack.expect("the record is accepted")
            };
            let acks: Vec<_> = some.iter().map(append).collect();
            places.extend(acks.into_iter().map(|ack| {
                let placed = ack.wait().expect("the record is acknowledged");
                let offset = placed.offset.expect("the offset is known");
                PartitionOffset::new(placed.partition, offset)
            }));
        }
        places
    }

    /// Every record without its headers, partition by partition, from the earliest offset.
    pub fn read_all(&self, topic: &str) -> Vec<StoredRecord> {
        let connection = self.file(topic).open();
        let query = "SELECT id >> 48, id & 0xffffffffffff, key, value, timestamp_ms
                     FROM records ORDER BY id";
        let stored = |row: &Row<'_>| {
            Ok(StoredRecord {
                partition: row.get(0)?,
                offset: row.get(1)?,
                key: row.get(2)?,
                value: row.get(3)?,
                headers: Default::default(),
                timestamp: row.get(4)?,
            })
        };
        let mut statement = connection.prepare(query).expect("the query is right");
        let rows = statement.query_map([], stored).expect("it can be read");
        rows.map(|row| row.expect("a record")).collect()
    }

    pub fn configure_topic(&self, topic: &str, key: &str, value: &str) {
        self.file(topic).run(&format!(
            "UPDATE topic SET settings = json_set(settings, '$.\"{key}\"', '{value}')"
        ));
    }

    /// How many partitions there are; 0 where there is no such topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        if !self.0.join(format!("{topic}.db")).exists() {
            return 0;
        }
        i32::try_from(self.ends(topic).len()).expect("partitions are few")
    }

    /// Takes the topic's files away.
    pub fn delete_topic(&self, topic: &str) {
        for file in ["db", "db-wal", "db-shm"] {
            let path = self.0.join(format!("{topic}.{file}"));
            std::fs::remove_file(path).expect("the file is there");
        }
    }

    /// The next offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        let rows = self
            .file(topic)
            .text("SELECT next_offset FROM partitions ORDER BY partition");
        rows.lines()
            .map(|row| row.parse().expect("an offset"))
            .collect()
    }
}
