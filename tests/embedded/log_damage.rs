//! Faults of the log's files: deleted, replaced, truncated, damaged, locked, on a full disk. A record is
//! acknowledged only when it is in the file at the path, and each error names its file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orders::event_log::{
    Ack, AppendError, Durability, EventLog, Fetched, LogError, LogFault, ReadBack,
};
use orders::pipeline::PartitionOffset;
use support::disk::SmallDisk;
use support::{TIMEOUT, eventually, wait_until};

use super::log::{Folder, TOPIC, append, create, range, reader, send};

/// Runs a program on a file: closing the file in this process would release SQLite's locks.
fn run(command: &str, arguments: &[&str], file: &Path) {
    let status = Command::new(command)
        .args(arguments)
        .arg(file)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.expect("it can be started").success(), "{command}");
}

fn append_again(log: &dyn EventLog) -> i64 {
    eventually("records to be accepted again", TIMEOUT, || {
        append(log, "key").ok()?.offset
    })
}

#[test]
fn a_record_for_a_deleted_file_is_not_acknowledged_and_a_new_file_is_another_topic() {
    let folder = Folder::with_topic(1);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    let before = log.topic_id(TOPIC).expect("it exists");
    folder.remove_files();
    for _ in 0..3 {
        let refused = append(&log, "key").expect_err("the file is deleted");
        let text = refused.to_string();
        assert!(text.contains("run `orders create-topics`"), "{text}");
    }
    let error = log.topic_id(TOPIC).expect_err("the topic is deleted");
    assert!(matches!(error, LogError::NotFound(_)), "{error:?}");
    create(&log, 1, &[]).expect("the topic can be made");
    assert_eq!(append_again(&log), 0);
    let after = log.topic_id(TOPIC).expect("it exists");
    assert!(after.contradicts(&before));
}

#[test]
fn a_recreated_topic_has_no_record_of_the_deleted_one() {
    let folder = Folder::with_topic(1);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    // Only the main file: the latest records are in the WAL.
    fs::remove_file(folder.file("db")).expect("the file is there");
    create(&log, 1, &[]).expect("the topic can be made");
    assert_eq!(append_again(&log), 0);
    assert_eq!(range(&log).high, 1);
}

#[test]
fn a_replaced_file_is_not_mixed_with_the_wal_of_the_previous_one() {
    let folder = Folder::with_topic(1);
    let other = Folder::with_topic(1);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    fs::rename(other.file("db"), folder.file("db")).expect("both are on one disk");
    let refused = append(&log, "key").expect_err("file and WAL do not match");
    let text = refused.to_string();
    assert!(text.contains("orders.db-wal"), "{text}");
    let error = log.topic(TOPIC).expect_err("file and WAL do not match");
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
    for ending in ["db-wal", "db-shm"] {
        fs::remove_file(folder.file(ending)).expect("the file is there");
    }
    assert_eq!(append_again(&log), 0);
}

#[test]
fn acknowledged_records_survive_the_loss_of_the_wal() {
    let folder = Folder::with_topic(1);
    let log = folder.log();
    for _ in 0..5 {
        append(&log, "key").expect("acknowledged");
    }
    fs::remove_file(folder.file("db-wal")).expect("the file is there");
    let next = append_again(&log);
    assert!(next >= 5, "{next}");
    drop(log);
    let log = folder.log();
    assert_eq!(range(&log).high, next + 1);
    for offset in 0..=next {
        let found = log
            .read_from(TOPIC, PartitionOffset::new(0, offset))
            .expect("it can be read");
        assert!(matches!(found, ReadBack::Record(record) if record.offset == offset));
    }
}

/// A unique value of a kilobyte.
fn value(number: i64) -> Vec<u8> {
    format!("{number:0>1000}").into_bytes()
}

/// A log with some hundred kilobytes in its file, and no WAL.
fn filled(folder: &Folder) -> Box<dyn EventLog> {
    let log = folder.log();
    let acks: Vec<_> = (0..500)
        .map(|number| send(&log, Durability::Durable, "key", &value(number)).expect("it is queued"))
        .collect();
    for ack in acks {
        ack.wait().expect("acknowledged");
    }
    drop(log);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    wait_until("the WAL to be emptied", TIMEOUT, || {
        folder.length("db-wal") == 0
    });
    Box::new(log)
}

#[test]
fn a_truncated_file_is_reported_by_name_and_not_written_to() {
    let folder = Folder::with_topic(1);
    let log = filled(&folder);
    let copy = folder.file("copy");
    fs::copy(folder.file("db"), &copy).expect("there is room");
    run("truncate", &["-s", "200000"], &folder.file("db"));
    for _ in 0..3 {
        let refused = append(&*log, "key").expect_err("half of the file is gone");
        let text = refused.to_string();
        assert!(text.contains("orders.db"), "{text}");
        assert!(text.contains("restore a backup"), "{text}");
    }
    assert_eq!(folder.length("db"), 200_000);
    let error = log.topic(TOPIC).expect_err("half of the file is gone");
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
    // A process that starts later detects it, too.
    drop(log);
    let log = folder.log();
    let error = log.topic(TOPIC).expect_err("half of the file is gone");
    assert!(error.to_string().contains("restore a backup"), "{error}");

    fs::rename(copy, folder.file("db")).expect("both are on one disk");
    for ending in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(folder.file(ending));
    }
    assert_eq!(append_again(&log), 501);
}

#[test]
fn a_damaged_record_is_neither_delivered_nor_skipped() {
    let folder = Folder::with_topic(1);
    let log = filled(&folder);
    drop(log);
    let mut bytes = fs::read(folder.file("db")).expect("it exists");
    // Splitting a page leaves a copy of it: all copies are changed.
    let copies: Vec<usize> = bytes
        .windows(1000)
        .enumerate()
        .filter(|(_, window)| *window == value(250))
        .map(|(at, _)| at)
        .collect();
    for at in copies {
        bytes[at + 500] ^= 1;
    }
    fs::write(folder.file("db"), bytes).expect("it can be written");

    let log = folder.log();
    let mut reader = reader(&log, 0);
    let until = Instant::now() + TIMEOUT;
    let mut next = 0;
    let reason = loop {
        assert!(Instant::now() < until, "no fault is reported");
        match reader.next(1, 1 << 20, Duration::from_millis(50)) {
            Fetched::Records(records) => {
                assert_eq!(records[0].value.as_deref(), Some(&*value(next)));
                next += 1;
            }
            Fetched::Fault(LogFault::Corrupt(reason)) => break reason,
            other => panic!("{other:?} at {next}"),
        }
    };
    assert!(reason.contains("orders.db"), "{reason}");
    assert_eq!(next, 250);
    assert!(
        reason.contains(&format!("0/{next} is not what was written")),
        "{reason}"
    );
    let error = log
        .read_from(TOPIC, PartitionOffset::new(0, next))
        .expect_err("it is damaged");
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
}

#[test]
fn an_unwritable_file_accepts_no_record_until_it_is_writable() {
    let folder = Folder::with_topic(1);
    append(&folder.log(), "key").expect("acknowledged");
    run("chattr", &["+i"], &folder.file("db"));
    let log = folder.log();
    let refused: Vec<_> = (0..3).map(|_| append(&log, "key")).collect();
    let warning = log.warning();
    let read = log.read_from(TOPIC, PartitionOffset::new(0, 0));
    run("chattr", &["-i"], &folder.file("db"));
    for refused in refused {
        let refused = refused.expect_err("it is read-only");
        assert!(matches!(refused, AppendError::NotAccepted(_)), "{refused}");
        assert!(refused.to_string().contains("orders.db"), "{refused}");
        assert!(refused.to_string().contains("make the file"), "{refused}");
    }
    assert!(warning.expect("it does not work").contains("orders.db"));
    assert!(matches!(read, Ok(ReadBack::Record(_))), "{read:?}");
    assert_eq!(append_again(&log), 1);
    assert_eq!(log.warning(), None);
}

#[test]
fn a_lock_held_by_another_program_is_reported_in_time_and_nothing_is_duplicated() {
    let folder = Folder::with_topic(1);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    let foreign = folder.foreign();
    foreign
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the lock is available");
    let began = Instant::now();
    let refused = append(&log, "key").expect_err("it is locked");
    let took = began.elapsed();
    assert!(matches!(refused, AppendError::NotAccepted(_)), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("another program holds it locked"), "{text}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    foreign
        .execute_batch("ROLLBACK")
        .expect("the transaction ends");
    assert_eq!(append_again(&log), 1);
}

#[test]
fn orders_are_refused_before_the_disk_is_full_and_accepted_when_there_is_space() {
    let disk = SmallDisk::mount(32);
    let folder = Folder::at(disk.path().join("log"));
    folder.create(1, &[]);
    let log = folder.log();
    let value = vec![b'v'; 100_000];
    let mut accepted = 0;
    let full = loop {
        match send(&log, Durability::Durable, "key", &value).and_then(Ack::wait) {
            Ok(_) => accepted += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(full, AppendError::Full(_)), "{full}");
    assert!(full.to_string().contains("make room"), "{full}");
    let warning = log.warning().expect("the disk is nearly full");
    assert!(warning.contains("make room"), "{warning}");
    let left = disk.free_bytes();
    assert!(left > 2 << 20, "{left} bytes are left");
    assert!(accepted > 50, "{accepted} were accepted");
    // On a full disk lookups are refused, too; reading continues.
    disk.fill();
    let best = send(&log, Durability::BestEffort, "key", &value);
    let best = best.and_then(Ack::wait);
    assert!(matches!(best, Err(AppendError::Full(_))), "{best:?}");
    assert_eq!(range(&log).high, accepted);
    let last = log
        .read_from(TOPIC, PartitionOffset::new(0, accepted - 1))
        .expect("it can be read");
    assert!(matches!(last, ReadBack::Record(record) if record.value.as_deref() == Some(&*value)));
    disk.free();
    run("truncate", &["-s", "0"], &disk.path().join("room"));
    run("mount", &["-o", "remount,size=128m"], disk.path());
    assert_eq!(append_again(&log), accepted);
    wait_until("no warning", TIMEOUT, || log.warning().is_none());
}

#[test]
fn a_disk_that_is_suddenly_full_loses_no_acknowledged_record() {
    let disk = SmallDisk::mount(16);
    let folder = Folder::at(disk.path().join("log"));
    folder.create(1, &[]);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    disk.fill();
    let full = append(&log, "key").expect_err("there is no room");
    assert!(matches!(full, AppendError::Full(_)), "{full}");
    assert_eq!(range(&log).high, 1);
    disk.free();
    assert_eq!(append_again(&log), 1);
}

#[test]
fn a_reader_that_holds_the_wal_for_too_long_is_reported() {
    let folder = Folder::with_topic(1);
    let log = folder.log();
    append(&log, "key").expect("acknowledged");
    let foreign = folder.foreign();
    foreign
        .execute_batch("BEGIN; SELECT count(*) FROM records")
        .expect("it can be read");
    append(&log, "key").expect("acknowledged");
    // Bytes after the last commit only add to the length.
    run("truncate", &["-s", "300M"], &folder.file("db-wal"));
    let warning = eventually("a warning", TIMEOUT, || log.warning());
    assert!(warning.contains("orders.db-wal"), "{warning}");
    assert!(warning.contains("another program"), "{warning}");
    append(&log, "key").expect("the log still works");
    foreign
        .execute_batch("COMMIT")
        .expect("the transaction ends");
    wait_until("no warning", TIMEOUT, || log.warning().is_none());
    let length = folder.length("db-wal");
    assert!(length < 1 << 20, "{length}");
}
