//! The log in a folder: commits, notification, retention, and its files as other programs see them.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use orders::event_log::sqlite::{Reach, SqliteLog};
use orders::event_log::{
    Ack, AppendError, Appended, Durability, EventLog, Fetched, LogError, LogFault, Membership,
    MembershipEvent, NewRecord, OffsetRange, ReadBack, Reader, TopicAdmin, TopicSpec,
};
use orders::pipeline::PartitionOffset;
use rusqlite::Connection;
use support::{TIMEOUT, eventually, wait_until};
use tempfile::TempDir;

/// A folder with a log, and a topic in it.
pub struct Folder {
    pub path: PathBuf,
    _dir: Option<TempDir>,
}

pub const TOPIC: &str = "orders";

impl Folder {
    pub fn new() -> Folder {
        let dir = TempDir::with_prefix("orders-log-").expect("a temporary folder can be made");
        Folder {
            path: dir.path().join("data/log"),
            _dir: Some(dir),
        }
    }

    pub fn at(path: PathBuf) -> Folder {
        Folder { path, _dir: None }
    }

    pub fn with_topic(partitions: i32) -> Folder {
        let folder = Folder::new();
        folder.create(partitions, &[]);
        folder
    }

    pub fn log(&self) -> SqliteLog {
        SqliteLog::open(&self.path, Reach::OtherProcesses)
    }

    pub fn create(&self, partitions: i32, settings: &[(&str, &str)]) {
        create(&self.log(), partitions, settings).expect("the topic can be created");
    }

    /// Deletes the topic as a shell would.
    pub fn remove_files(&self) {
        for ending in ["db", "db-wal", "db-shm"] {
            fs::remove_file(self.file(ending)).expect("the file exists");
        }
    }

    pub fn length(&self, ending: &str) -> u64 {
        fs::metadata(self.file(ending))
            .expect("the file exists")
            .len()
    }

    pub fn file(&self, ending: &str) -> PathBuf {
        self.path.join(format!("{TOPIC}.{ending}"))
    }

    /// The connection of another program.
    pub fn foreign(&self) -> Connection {
        Connection::open(self.file("db")).expect("the file can be opened")
    }
}

pub fn create(
    admin: &dyn TopicAdmin,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), LogError> {
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    admin.create_topics(&[TopicSpec {
        settings: settings.collect(),
        ..spec(TOPIC, partitions)
    }])
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec {
        name: name.into(),
        partitions,
        replication_factor: 1,
        settings: Default::default(),
    }
}

pub fn send(
    log: &dyn EventLog,
    durability: Durability,
    key: &str,
    value: &[u8],
) -> Result<Ack, AppendError> {
    let record = NewRecord {
        topic: TOPIC,
        key: key.as_bytes(),
        value: Some(value),
        headers: &[],
    };
    log.append(durability, record)
}

pub fn append(log: &dyn EventLog, key: &str) -> Result<Appended, AppendError> {
    send(log, Durability::Durable, key, b"value")?.wait()
}

fn lookup(log: &dyn EventLog) -> Appended {
    let ack = send(log, Durability::BestEffort, "key", b"value");
    ack.and_then(Ack::wait).expect("the record is acknowledged")
}

/// The one partition's range.
pub fn range(log: &dyn EventLog) -> OffsetRange {
    log.range(TOPIC, 0).expect("the log answers")
}

pub fn joined(log: &dyn EventLog) -> Box<dyn Membership> {
    log.join("group", TOPIC).expect("the group is free")
}

pub fn event(member: &mut dyn Membership) -> MembershipEvent {
    eventually("an event", TIMEOUT, || {
        member.poll(Duration::from_millis(50))
    })
}

pub fn reader(log: &dyn EventLog, start: i64) -> Box<dyn Reader> {
    let mut member = joined(log);
    assert!(matches!(event(&mut *member), MembershipEvent::Assigned(_)));
    let mut readers = member
        .assign(&[PartitionOffset::new(0, start)])
        .expect("it can be read");
    readers.remove(0)
}

#[test]
fn opening_a_log_writes_nothing_and_a_missing_folder_is_a_missing_topic() {
    let folder = Folder::new();
    let log = folder.log();
    let error = log.topic(TOPIC).expect_err("there is no topic");
    assert!(matches!(error, LogError::NotFound(_)), "{error:?}");
    assert!(error.to_string().contains("run `orders create-topics`"));
    let refused = append(&log, "key").expect_err("there is no topic");
    assert!(matches!(refused, AppendError::NotAccepted(_)), "{refused}");
    assert!(refused.to_string().contains("run `orders create-topics`"));
    assert_eq!(log.describe(None).expect("that is no error").len(), 0);
    assert!(log.warm_up().is_err());
    assert!(!folder.path.exists());

    create(&log, 2, &[]).expect("the topic can be created");
    append(&log, "key").expect("it is there now");
    log.warm_up().expect("it is there now");
}

#[test]
fn an_embedded_log_refuses_a_replication_factor() {
    let folder = Folder::new();
    let spec = TopicSpec {
        replication_factor: 3,
        ..spec(TOPIC, 1)
    };
    let error = folder.log().create_topics(&[spec]).expect_err("no copies");
    assert!(matches!(error, LogError::Refused(_)), "{error}");
    assert!(error.to_string().contains("3 replicas"), "{error}");
    assert!(!folder.file("db").exists());
}

/// The number of commits in the WAL (sqlite.org/fileformat2.html#walformat).
fn commits(folder: &Folder) -> usize {
    let wal = fs::read(folder.file("db-wal")).expect("the file is there");
    let frames = wal.get(32..).unwrap_or_default().chunks_exact(24 + 4096);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn one_commit_acknowledges_all_queued_records_and_offsets_have_no_holes() {
    let folder = Folder::with_topic(4);
    let log = folder.log();
    append(&log, "key").expect("the writer runs");
    let before = commits(&folder);
    let foreign = folder.foreign();
    foreign
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the lock is available");
    let mut offsets = std::thread::scope(|threads| {
        let appending = |thread: usize| {
            let log = &log;
            move || -> Vec<Ack> {
                let key = |number: usize| format!("key-{thread}-{number}");
                let send = |number| send(log, Durability::Durable, &key(number), b"value");
                (0..25)
                    .map(|number| send(number).expect("room in the queue"))
                    .collect()
            }
        };
        let threads: Vec<_> = (0..32)
            .map(|thread| threads.spawn(appending(thread)))
            .collect();
        let acks: Vec<Ack> = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect();
        foreign
            .execute_batch("ROLLBACK")
            .expect("the transaction ends");
        let answers = acks
            .into_iter()
            .map(|ack| ack.wait().expect("acknowledged"));
        answers
            .map(|at| (at.partition, at.offset.expect("an offset")))
            .collect::<Vec<_>>()
    });
    // The first record may have been committed alone.
    let made = commits(&folder) - before;
    assert!(made <= 2, "{made} commits for 800 records");
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), 800, "each record has its own offset");
    let ends = log.topic(TOPIC).expect("the log answers").highs;
    assert_eq!(ends.iter().sum::<i64>(), 801);
}

#[test]
fn readers_are_notified_at_once_and_of_other_processes_within_milliseconds() {
    let folder = Folder::with_topic(1);
    let (writing, other) = (folder.log(), folder.log());
    for (log, within) in [(&writing, 10), (&other, 50)] {
        let start = range(&writing).high;
        let mut reader = reader(log, start);
        let (sender, notified) = mpsc::channel();
        reader.on_ready(Box::new(move || {
            let _ = sender.send(());
        }));
        let mut took: Vec<Duration> = (0..21)
            .map(|_| {
                append(&writing, "key").expect("acknowledged");
                let acknowledged = Instant::now();
                loop {
                    notified.recv_timeout(TIMEOUT).expect("the reader notifies");
                    let fetched = reader.next(10, 1000, Duration::ZERO);
                    if matches!(fetched, Fetched::Records(_)) {
                        return acknowledged.elapsed();
                    }
                }
            })
            .collect();
        took.sort_unstable();
        println!(
            "notified after {:?} (median), {:?} at most",
            took[10], took[20]
        );
        assert!(took[10] < Duration::from_millis(within), "{took:?}");
    }
}

#[test]
fn a_process_that_only_reads_starts_no_writer_thread() {
    let folder = Folder::with_topic(1);
    let name = "only-read";
    let log = folder.log();
    let created = log.create_topics(&[spec(name, 1)]);
    created.expect("the topic can be created");
    let mut follower = log
        .follow(name, &[PartitionOffset::new(0, 0)], Duration::ZERO)
        .expect("it can be followed");
    follower.next(Duration::from_millis(20), &|_, _| false);
    let threads = || -> Vec<String> {
        let threads = fs::read_dir("/proc/self/task").expect("linux");
        let name = |path: PathBuf| Some(fs::read_to_string(path.join("comm")).ok()?.trim().into());
        threads
            .filter_map(|thread| name(thread.ok()?.path()))
            .collect()
    };
    let is_there = |name: &str| threads().iter().any(|thread| thread == name);
    wait_until("the watcher to run", TIMEOUT, || is_there("log-watcher"));
    assert!(!is_there(&format!("log-{name}")));
}

#[test]
fn a_member_is_notified_when_its_topic_is_created_grown_deleted_and_recreated() {
    let folder = Folder::new();
    let log = folder.log();
    let mut member = joined(&log);
    let told = event(&mut *member);
    let MembershipEvent::Fault(LogFault::Transient(reason)) = told else {
        panic!("{told:?}")
    };
    assert!(reason.contains("run `orders create-topics`"), "{reason}");
    assert_eq!(
        member.assign(&[]).expect("nothing is to be assigned").len(),
        0
    );

    create(&log, 1, &[]).expect("the topic can be created");
    let assigned = |told: MembershipEvent, all: &[i32]| {
        let MembershipEvent::Assigned(partitions) = told else {
            panic!("{told:?}")
        };
        assert_eq!(partitions, all);
    };
    assigned(event(&mut *member), &[0]);
    log.add_partitions(TOPIC, 3).expect("it has no records");
    assigned(event(&mut *member), &[0, 1, 2]);
    let mut old = member
        .assign(&[PartitionOffset::new(0, 0)])
        .expect("it can be read")
        .remove(0);

    folder.remove_files();
    create(&log, 2, &[]).expect("the topic can be created");
    append(&log, "key").expect("acknowledged");
    // The records belong to another topic now and are not read at the old positions.
    let fetched = old.next(10, 1000, TIMEOUT);
    assert!(
        matches!(fetched, Fetched::Fault(LogFault::Reset(_)) | Fetched::End),
        "{fetched:?}"
    );
    let told = event(&mut *member);
    assert!(
        matches!(told, MembershipEvent::Fault(LogFault::Reset(_))),
        "{told:?}"
    );
    assigned(event(&mut *member), &[0, 1]);
    log.add_partitions(TOPIC, 3)
        .expect_err("a topic with records does not grow");
}

#[test]
fn retention_deletes_consumed_records_and_nothing_else() {
    let folder = Folder::new();
    folder.create(1, &[("retention.ms", "1")]);
    let log = folder.log();
    for _ in 0..10 {
        append(&log, "key").expect("acknowledged");
    }
    let mut member = joined(&log);
    event(&mut *member);
    member.applied(&[PartitionOffset::new(0, 4)]);
    drop(log);
    // A writer deletes expired records when it starts.
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    wait_until("applied records to be deleted", TIMEOUT, || {
        range(&log).low == 4
    });
    assert_eq!(range(&log), OffsetRange { low: 4, high: 11 });
    let first = log
        .read_from(TOPIC, PartitionOffset::new(0, 0))
        .expect("the log answers");
    assert!(matches!(first, ReadBack::Record(record) if record.offset == 4));
    // Nothing is below, and reading there is a fault.
    let fetched = reader(&log, 3).next(10, 1000, TIMEOUT);
    assert!(matches!(fetched, Fetched::Fault(LogFault::Reset(_))));
}

#[test]
fn offsets_continue_after_retention_emptied_a_partition() {
    let folder = Folder::new();
    folder.create(1, &[("retention.ms", "1")]);
    for number in 0..3 {
        let log = folder.log();
        assert_eq!(lookup(&log).offset, Some(number));
        let appended = Instant::now();
        wait_until("old records to be deleted", TIMEOUT, || {
            range(&log).low >= number
        });
        drop(log);
        // The next writer deletes expired records when it starts, and then a minute later.
        wait_until("the record to be old", TIMEOUT, || {
            appended.elapsed() > Duration::from_millis(2)
        });
    }
    folder
        .foreign()
        .execute_batch("DELETE FROM records; UPDATE partitions SET low = next_offset")
        .expect("any program may do that");
    let log = folder.log();
    assert_eq!(range(&log), OffsetRange { low: 3, high: 3 });
    assert_eq!(lookup(&log).offset, Some(3));
}

#[test]
fn the_log_can_be_read_with_the_sqlite_shell() {
    let folder = Folder::with_topic(1);
    append(&folder.log(), "b563feb7b2b84b6test").expect("acknowledged");
    let sql = "SELECT partition, \"offset\", time > '2020', key, value FROM log";
    let foreign = folder.foreign();
    let row: (i32, i64, bool, String, String) = foreign
        .query_row(sql, [], |row| row.try_into())
        .expect("there is one row");
    let key = "b563feb7b2b84b6test".to_owned();
    assert_eq!(row, (0, 0, true, key, "value".to_owned()));
    let integrity: String = foreign
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(integrity, "ok");
}
