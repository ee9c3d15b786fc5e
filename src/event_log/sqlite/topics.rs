//! Creating, growing and describing topics, and the id of the log.
//!
//! A topic appears whole or not at all: its file is created under another name, and renamed when it
//! is on the disk. A process that creates or grows topics holds the lock of the folder's `id`
//! meanwhile, so the remains of a deleted topic can be removed without taking a file from one just
//! created.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rusqlite::{Connection, Error as SqlError, Result as SqlResult};
use rustix::fs::{FlockOperation, flock};

use super::tables::{self, Counters};
use super::topic::Topic;
use super::{Folder, SqliteLog};
use crate::data_folder::{HINT, create_durably, sync_folder};
use crate::event_log::{LogError, TopicAdmin, TopicDescription, TopicSpec};
use crate::sqlite_file::{Access, FileError, FileErrorKind, open, with_suffix};

/// The file of the log's id; no topic's file can have that name.
const ID: &str = "id";

/// With `.db-wal` appended a name must fit into a directory entry.
const LONGEST_NAME: usize = 240;

impl TopicAdmin for SqliteLog {
    fn brokers(&self) -> Result<usize, LogError> {
        Ok(1)
    }

    fn describe(&self, names: Option<&[&str]>) -> Result<Vec<TopicDescription>, LogError> {
        let names = match names {
            Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            None => self.folder.topic_names()?,
        };
        let mut described = Vec::new();
        for name in names {
            let topic = self.folder.topic(&name);
            let read = topic.read(|open| {
                open.run(|connection| {
                    let head = tables::head(connection)?;
                    Ok((head, tables::counters(connection)?))
                })
            });
            let (head, counters) = match read.map_err(|error| topic.error("describe", &error)) {
                Ok(found) => found,
                Err(LogError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            described.push(TopicDescription {
                name,
                topic_id: head.topic_id,
                replication_factor: 1,
                ranges: counters.iter().map(Counters::range).collect(),
                settings: head.settings,
            });
        }
        Ok(described)
    }

    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let _lock = self.folder.lock()?;
        for spec in specs {
            let topic = self.folder.topic(&spec.name);
            let failed = |reason: &str| format!("could not create topic `{}`: {reason}", spec.name);
            if let Some(reason) = refusal(spec) {
                return Err(LogError::Refused(failed(&reason)));
            }
            if topic.file.is_missing() {
                self.folder
                    .create_topic(&topic, spec)
                    .map_err(|error| LogError::Unavailable(failed(&error.to_string())))?;
                topic.notify.notify();
            }
        }
        Ok(())
    }

    fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), LogError> {
        let _lock = self.folder.lock()?;
        let topic = self.folder.topic(name);
        let failed = |error: FileError| topic.error("grow", &error);
        let open = topic.open(Access::Write).map_err(failed)?;
        // Closing the connection rolls back.
        let counters = open
            .run(|connection| {
                connection.execute_batch("BEGIN IMMEDIATE")?;
                tables::counters(connection)
            })
            .map_err(failed)?;
        let has_records = counters.iter().any(|counters| counters.next > 0);
        let has = i32::try_from(counters.len()).unwrap_or(i32::MAX);
        if has_records || partitions <= has || partitions > tables::MAX_PARTITIONS {
            return Err(LogError::Refused(format!(
                "could not grow topic `{name}` from {has} to {partitions} partitions: only a \
                 topic without records grows, to {} at most",
                tables::MAX_PARTITIONS
            )));
        }
        open.run(|connection| {
            insert_partitions(connection, has..partitions)?;
            connection.execute_batch("COMMIT")
        })
        .map_err(failed)?;
        topic.notify.notify();
        Ok(())
    }
}

impl Folder {
    /// Identifies this log in positions, wherever its folder is moved to.
    pub(super) fn log_id(&self, topic: &str) -> Result<String, LogError> {
        let path = self.path.join(ID);
        let refused = |reason: String| {
            LogError::Refused(format!(
                "could not read the log's id in `{}`: {reason}: run `orders create-topics`",
                path.display()
            ))
        };
        let text = fs::read_to_string(&path).map_err(|error| refused(error.to_string()))?;
        let id = uuid::Uuid::try_parse(text.trim()).map_err(|error| refused(error.to_string()))?;
        Ok(format!("{id}/{topic}"))
    }

    /// Creates the folder and the log's id where they are missing, and keeps other processes from
    /// creating or growing topics.
    fn lock(&self) -> Result<File, LogError> {
        let path = self.path.join(ID);
        let attempt = || -> io::Result<File> {
            create_durably(&self.path)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            let name = fs::read_to_string(&path)?;
            if uuid::Uuid::try_parse(name.trim()).is_err() {
                file.set_len(0)?;
                writeln!(file, "{}", uuid::Uuid::new_v4())?;
                file.sync_all()?;
                sync_folder(&self.path)?;
            }
            Ok(file)
        };
        // Nothing was created, and waiting does not help.
        attempt().map_err(|error| {
            LogError::Refused(format!(
                "could not create the log in `{}`: {error} ({HINT})",
                self.path.display()
            ))
        })
    }

    fn create_topic(&self, topic: &Topic, spec: &TopicSpec) -> Result<(), FileError> {
        let new = self.path.join(format!("new-{}", uuid::Uuid::new_v4()));
        let path = topic.file.path();
        let failed = |error: io::Error| {
            let reason = error.to_string();
            FileError::new(FileErrorKind::Disk, path, reason)
        };
        let created = fill(&new, spec).and_then(|()| {
            // SQLite would use what a deleted topic of this name left behind for this one.
            for suffix in ["-wal", "-shm"] {
                match fs::remove_file(with_suffix(path, suffix)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
            fs::rename(&new, path).map_err(failed)?;
            sync_folder(&self.path).map_err(failed)
        });
        if created.is_err() {
            let _ = fs::remove_file(&new);
        }
        created
    }

    /// The topics that exist, by their files.
    pub(super) fn topic_names(&self) -> Result<Vec<String>, LogError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|error| {
            LogError::Unavailable(format!(
                "could not list the topics in `{}`: {error}",
                self.path.display()
            ))
        })?;
        let mut names: Vec<String> = entries
            .iter()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".db")?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }
}

/// Why a topic cannot be created as specified.
fn refusal(spec: &TopicSpec) -> Option<String> {
    let replicas = spec.replication_factor;
    if replicas > 1 {
        return Some(format!(
            "{replicas} replicas are requested, the embedded log keeps 1"
        ));
    }
    if !(1..=tables::MAX_PARTITIONS).contains(&spec.partitions) {
        let most = tables::MAX_PARTITIONS;
        let partitions = spec.partitions;
        return Some(format!(
            "{partitions} partitions are requested, not 1 to {most}"
        ));
    }
    (spec.name.len() > LONGEST_NAME)
        .then(|| format!("its name is longer than {LONGEST_NAME} characters"))
}

/// Creates the file of a topic; all of it is on the disk when this returns.
fn fill(path: &Path, spec: &TopicSpec) -> Result<(), FileError> {
    let connection = open(path, Access::Create)?;
    let settings = serde_json::to_string(&spec.settings);
    let topic_id = uuid::Uuid::new_v4().to_string();
    let filled = || -> SqlResult<()> {
        let settings = settings.map_err(|error| SqlError::ToSqlConversionFailure(error.into()))?;
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(tables::SCHEMA)?;
        transaction.execute(
            "INSERT INTO topic (topic_id, settings) VALUES (?1, ?2)",
            [&topic_id, &settings],
        )?;
        insert_partitions(&transaction, 0..spec.partitions)?;
        transaction.commit()
    };
    filled().map_err(|error| FileError::of(path, &error))?;
    // The last connection moves everything into the one file, syncs it and removes the others.
    connection
        .close()
        .map_err(|(_, error)| FileError::of(path, &error))
}

fn insert_partitions(connection: &Connection, partitions: std::ops::Range<i32>) -> SqlResult<()> {
    let mut insert = connection.prepare("INSERT INTO partitions (partition) VALUES (?1)")?;
    for partition in partitions {
        insert.execute([partition])?;
    }
    Ok(())
}
