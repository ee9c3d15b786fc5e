//! Other programs that read and write the same files, for a long time or continuously.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use support::disk::SmallDisk;
use support::{Env, SqliteFile, eventually, returns_within, wait_until};

use super::{RECOVERY, start_clients, stop_and_audit, up_under_load};

fn wal_file(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", file.display()))
}

fn wal_length(file: &Path) -> u64 {
    fs::metadata(wal_file(file)).map_or(0, |metadata| metadata.len())
}

/// A connection in a read transaction, which ends when it is dropped.
fn open_snapshot(file: &Path) -> Connection {
    let reader = SqliteFile::new(file).open();
    reader.execute_batch("BEGIN").expect("a transaction begins");
    let rows = reader.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0)
    });
    assert!(rows.expect("it can be read") > 0);
    reader
}

#[test]
fn orders_are_refused_before_the_wal_held_by_a_foreign_reader_fills_the_disk() {
    for is_log in [true, false] {
        let disk = SmallDisk::mount(32);
        let env = Env::embedded_in(&disk.path().join("data"));
        let up = env.up();
        disk.fill_except(12 << 20);
        let clients = start_clients(&env, &up.url());
        clients.wait_for_more(20);
        let file = if is_log {
            env.log_file()
        } else {
            env.store_file()
        };
        let reader = open_snapshot(&file);
        up.wait_until_unready("make room");
        wait_until("a refusal", RECOVERY, || {
            up.post_order("refused").status == 507
        });
        env.wait_until_applied_within(RECOVERY);
        let left = disk.free_bytes();
        assert!(left > 256 << 10, "{left} bytes are left");
        let promised = clients.accepted();
        let grown = wal_length(&file);
        drop(reader);
        wait_until("the WAL to shrink", RECOVERY, || wal_length(&file) < grown);
        wait_until("orders to be accepted", RECOVERY, || {
            clients.accepted() > promised
        });
        disk.free();
        clients.wait_for_more(50);
        up.wait_ready_within(RECOVERY);
        stop_and_audit(&env, clients, &up);
    }
}

#[test]
fn a_foreign_reader_that_holds_the_wal_is_reported_before_the_disk_is_full() {
    let env = Env::embedded();
    let up = env.up();
    for file in [env.log_file(), env.store_file()] {
        up.accepts("before");
        env.wait_until_applied();
        let reader = open_snapshot(&file);
        up.accepts("after");
        env.wait_until_applied();
        // Frames after the last commit only add to the length.
        let wal = File::options().write(true).open(wal_file(&file));
        let grown = wal.and_then(|wal| wal.set_len(300 << 20));
        grown.expect("a sparse file needs no space");
        let grown = format!("{}` has grown to 300", wal_file(&file).display());
        let check = up.wait_until_unready(&grown);
        let hint = "reading the file for long, end that";
        assert!(check.contains(hint), "{check}");
        up.accepts("meanwhile");
        drop(reader);
        up.wait_ready_within(RECOVERY);
        wait_until("the WAL to shrink", RECOVERY, || {
            wal_length(&file) < 1 << 20
        });
    }
}

/// A checkpoint by another program would not complete within a second if the services read for longer.
#[test]
fn no_connection_of_the_services_reads_for_longer_than_a_second() {
    let env = Env::embedded();
    let (up, mut clients) = up_under_load(&env);
    clients.wait_for_more(500);
    let probe = |file: &Path| {
        let connection = SqliteFile::new(file).open();
        eventually(
            "a checkpoint without readers",
            Duration::from_secs(1),
            || {
                let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                    row.get::<_, i64>(0)
                });
                (emptied.ok()? == 0).then_some(())
            },
        );
    };
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        probe(&env.log_file());
        probe(&env.store_file());
    }
    clients.suspend(RECOVERY);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        probe(&env.log_file());
        probe(&env.store_file());
    }
    clients.resume();
    stop_and_audit(&env, clients, &up);
}

#[test]
fn a_foreign_writer_that_holds_the_lock_for_ten_seconds_is_waited_for() {
    let env = Env::embedded();
    let (mut up, clients) = up_under_load(&env);
    clients.wait_for_more(50);
    let writers = [env.log_file(), env.store_file()].map(|file| {
        let writer = SqliteFile::new(&file).open();
        let locked = writer.execute_batch("BEGIN IMMEDIATE");
        locked.expect("the lock is available");
        writer
    });
    let until = Instant::now() + Duration::from_secs(10);
    // Requests that were in progress when the file was locked.
    up.post_order("refused").expect_status(503);
    let promised = clients.wait_until_refused();
    let mut is_reported = false;
    while Instant::now() < until {
        let refused = returns_within(Duration::from_secs(8), || up.post_order("refused"));
        assert_eq!(refused.expect_status(503).json()["outcome"], "not_accepted");
        is_reported |= up.readiness().1.contains("another program holds it locked");
    }
    assert!(is_reported, "{:?}", up.readiness());
    assert_eq!(clients.accepted(), promised);
    drop(writers);
    clients.wait_for_more(100);
    assert!(up.is_running());
    let lines = up.lines();
    let recovered = lines
        .iter()
        .filter(|line| line.contains("can be written again"));
    assert_eq!(recovered.count(), 1, "{lines:?}");
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&env, clients, &up);
}
