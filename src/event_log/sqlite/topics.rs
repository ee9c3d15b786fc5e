//! Making, growing and describing topics, for `orders create-topics`; and the name of the log.
//!
//! A topic appears whole or not at all: its file is made under another name, and renamed when it is
//! on the disk. Whoever makes or grows topics holds the lock of the folder's `id` meanwhile, so the
//! remains of a deleted topic can be cleared away without taking a file from one just made.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use rustix::fs::{FlockOperation, flock};

use super::*;
use crate::data_folder::{REMEDY, create_durably, sync_folder};
use crate::sqlite_file::with_suffix;

/// The name of the log, in its folder; no topic's file can have that name.
const ID: &str = "id";

/// With `.db-wal` behind it a name must fit into what a directory takes.
const LONGEST_NAME: usize = 240;

impl Folder {
    /// What names this log for positions, wherever its folder is moved to.
    pub(super) fn log_id(&self, topic: &str) -> Result<String, LogError> {
        let path = self.path.join(ID);
        let refused = |reason: String| {
            LogError::Refused(format!(
                "could not read the log's name in `{}`: {reason}: run `orders create-topics`",
                path.display()
            ))
        };
        let text = fs::read_to_string(&path).map_err(|error| refused(error.to_string()))?;
        let id = uuid::Uuid::try_parse(text.trim()).map_err(|error| refused(error.to_string()))?;
        Ok(format!("{id}/{topic}"))
    }

    pub(super) fn make_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        let _alone = self.alone()?;
        for spec in wanted {
            let topic = self.topic(&spec.name);
            if let Some(reason) = refusal(spec) {
                return Err(LogError::Refused(format!(
                    "could not make topic `{}`: {reason}",
                    spec.name
                )));
            }
            if topic.file.is_missing() {
                self.make(&topic, spec).map_err(|trouble| {
                    LogError::Unavailable(format!(
                        "could not make topic `{}`: {trouble}",
                        spec.name
                    ))
                })?;
                topic.bells.ring();
            }
        }
        Ok(())
    }

    /// Makes the folder and its name where they are missing, and keeps others from doing so.
    fn alone(&self) -> Result<File, LogError> {
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
        // Nothing was made, and waiting helps nobody.
        attempt().map_err(|error| {
            LogError::Refused(format!(
                "could not make the log in `{}`: {error} ({REMEDY})",
                self.path.display()
            ))
        })
    }

    fn make(&self, topic: &Topic, spec: &TopicSpec) -> Result<(), FileError> {
        let path = self.path.join(format!("new-{}", uuid::Uuid::new_v4()));
        let file = topic.file.path();
        let failed =
            |error: io::Error| FileError::new(FileErrorKind::Disk, file, error.to_string());
        let made = fill(&path, spec).and_then(|()| {
            // What a deleted topic of this name left behind would be taken for this one's.
            for remains in [topic.file.wal(), &with_suffix(file, "-shm")] {
                match fs::remove_file(remains) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
            fs::rename(&path, file).map_err(failed)?;
            sync_folder(&self.path).map_err(failed)
        });
        if made.is_err() {
            let _ = fs::remove_file(&path);
        }
        made
    }

    pub(super) fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), LogError> {
        let _alone = self.alone()?;
        let topic = self.topic(name);
        let error = |trouble: FileError| topic.error("grow", &trouble);
        let open = topic.open(Access::Write).map_err(error)?;
        let failed = |error: SqlError| topic.error("grow", &open.error(&error));
        // Closing the connection rolls back.
        open.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        let counters = tables::counters(&open.connection).map_err(failed)?;
        let has_records = counters.iter().any(|counters| counters.next > 0);
        let has = i32::try_from(counters.len()).unwrap_or(i32::MAX);
        if has_records || partitions <= has || partitions > tables::MAX_PARTITIONS {
            return Err(LogError::Refused(format!(
                "could not grow topic `{name}` from {has} to {partitions} partitions: only a \
                 topic without records grows, to {} at most",
                tables::MAX_PARTITIONS
            )));
        }
        add(&open.connection, has..partitions)
            .and_then(|()| open.connection.execute_batch("COMMIT"))
            .map_err(failed)?;
        topic.bells.ring();
        Ok(())
    }

    pub(super) fn describe_topics(
        &self,
        names: Option<&[&str]>,
    ) -> Result<Vec<TopicDescription>, LogError> {
        let names = match names {
            Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            None => self.topic_names()?,
        };
        let mut described = Vec::new();
        for name in names {
            let topic = self.topic(&name);
            let asked = topic.read(|open| {
                let asked = || -> SqlResult<_> {
                    let head = tables::head(&open.connection)?;
                    Ok((head, tables::counters(&open.connection)?))
                };
                asked().map_err(|error| open.error(&error))
            });
            let asked = asked.map_err(|trouble| topic.error("describe", &trouble));
            let (head, counters) = match asked {
                Ok(found) => found,
                Err(LogError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            described.push(TopicDescription {
                name,
                topic_id: head.topic_id,
                replication_factor: 1,
                ranges: ranges(&counters),
                settings: head.settings,
            });
        }
        Ok(described)
    }

    /// The topics that are there, by their files.
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

/// Why a topic cannot be made as asked.
fn refusal(spec: &TopicSpec) -> Option<String> {
    let copies = spec.replication_factor;
    if copies > 1 {
        return Some(format!(
            "{copies} copies are asked for, the embedded log keeps 1"
        ));
    }
    if !(1..=tables::MAX_PARTITIONS).contains(&spec.partitions) {
        return Some(format!("{} partitions are asked for", spec.partitions));
    }
    (spec.name.len() > LONGEST_NAME)
        .then(|| format!("a name has at most {LONGEST_NAME} characters here"))
}

/// Makes the file of a topic, and has all of it on the disk.
fn fill(path: &Path, spec: &TopicSpec) -> Result<(), FileError> {
    let connection = crate::sqlite_file::open(path, Access::Create)?;
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
        add(&transaction, 0..spec.partitions)?;
        transaction.commit()
    };
    filled().map_err(|error| FileError::of(path, &error))?;
    // The last connection moves everything into the one file, syncs it and removes the others.
    connection
        .close()
        .map_err(|(_, error)| FileError::of(path, &error))
}

fn add(connection: &Connection, partitions: std::ops::Range<i32>) -> SqlResult<()> {
    let mut add = connection.prepare("INSERT INTO partitions (partition) VALUES (?1)")?;
    for partition in partitions {
        add.execute([partition])?;
    }
    Ok(())
}

/// The counters as everyone else knows them.
pub(super) fn ranges(counters: &[Counters]) -> Vec<OffsetRange> {
    let range = |counters: &Counters| OffsetRange {
        low: counters.low,
        high: counters.next,
    };
    counters.iter().map(range).collect()
}
