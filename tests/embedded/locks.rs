//! Other programs that read and write the same files, for a long time or continuously.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use support::disk::SmallDisk;
use support::private::free_port;
use support::{Env, SqliteFile, eventually};

use super::{RECOVERY, audit_all, start_clients};

fn wal_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", file.display()))
}

fn length_of_wal(file: &Path) -> u64 {
    fs::metadata(wal_of(file)).map_or(0, |metadata| metadata.len())
}

/// A connection that stays inside a snapshot until it is dropped.
fn read_on(file: &Path) -> Connection {
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
    for of_the_log in [true, false] {
        let disk = SmallDisk::mount(32);
        let env = Env::embedded_in(&disk.path().join("data"));
        let port = format!("127.0.0.1:{}", free_port());
        let up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
        disk.fill_except(12 << 20);
        let clients = start_clients(&env, &port);
        clients.wait_for_more(20);
        let file = if of_the_log {
            env.log_file()
        } else {
            env.store_file()
        };
        let reader = read_on(&file);
        up.wait_until_unready("make room");
        eventually("a refusal", RECOVERY, || {
            (up.post_order("refused").status == 507).then_some(())
        });
        env.wait_until_applied_within(RECOVERY);
        assert!(
            disk.free_bytes() > 256 << 10,
            "{} bytes are left",
            disk.free_bytes()
        );
        let promised = clients.accepted();
        let grown = length_of_wal(&file);
        drop(reader);
        eventually("the WAL to shrink", RECOVERY, || {
            (length_of_wal(&file) < grown).then_some(())
        });
        eventually("orders to be accepted", RECOVERY, || {
            (clients.accepted() > promised).then_some(())
        });
        disk.free();
        clients.wait_for_more(50);
        up.wait_ready_within(RECOVERY);
        audit_all(&env, clients, &up.url());
    }
}

#[test]
fn a_foreign_reader_that_holds_the_wal_is_reported_before_the_disk_is_full() {
    let env = Env::embedded();
    let up = env.up();
    for file in [env.log_file(), env.store_file()] {
        assert_eq!(up.post_order("before").status, 202);
        env.wait_until_applied();
        let reader = read_on(&file);
        assert_eq!(up.post_order("after").status, 202);
        env.wait_until_applied();
        // Frames behind the last commit only add to the length.
        let wal = File::options().write(true).open(wal_of(&file));
        let grown = wal.and_then(|wal| wal.set_len(300 << 20));
        grown.expect("a file without content costs nothing");
        let grown = format!("{}` has grown to 300", wal_of(&file).display());
        let said = up.wait_until_unready(&grown);
        assert!(
            said.contains("reading the file for long, end that"),
            "{said}"
        );
        assert_eq!(up.post_order("meanwhile").status, 202);
        drop(reader);
        up.wait_ready_within(RECOVERY);
        eventually("the WAL to shrink", RECOVERY, || {
            (length_of_wal(&file) < 1 << 20).then_some(())
        });
    }
}

/// A checkpoint by another program would not complete within a second if the services read for longer.
#[test]
fn no_connection_of_the_services_reads_for_longer_than_a_second() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let mut clients = start_clients(&env, &port);
    clients.wait_for_more(500);
    let probe = |file: &Path| {
        let connection = SqliteFile::new(file).open();
        eventually("nobody to read for long", Duration::from_secs(1), || {
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, i64>(0)
            });
            (emptied.ok()? == 0).then_some(())
        });
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
    audit_all(&env, clients, &up.url());
}

#[test]
fn a_foreign_writer_that_holds_the_lock_for_ten_seconds_is_waited_for() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let mut up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let clients = start_clients(&env, &port);
    clients.wait_for_more(50);
    let writers = [env.log_file(), env.store_file()].map(|file| {
        let writer = SqliteFile::new(&file).open();
        writer
            .execute_batch("BEGIN IMMEDIATE")
            .expect("the lock is given");
        writer
    });
    let until = Instant::now() + Duration::from_secs(10);
    // What was under way when the lock was taken.
    assert_eq!(up.post_order("refused").status, 503);
    let promised = clients.wait_until_refused();
    let mut named = false;
    while Instant::now() < until {
        let asked = Instant::now();
        let refused = up.post_order("refused");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(
            refused.text().contains("not_accepted"),
            "{}",
            refused.text()
        );
        assert!(
            asked.elapsed() < Duration::from_secs(8),
            "{:?}",
            asked.elapsed()
        );
        named |= up.readiness().1.contains("another program holds it locked");
    }
    assert!(named, "{:?}", up.readiness());
    assert_eq!(clients.accepted(), promised);
    drop(writers);
    clients.wait_for_more(100);
    assert!(up.is_running());
    let said = up.lines();
    let again = said
        .iter()
        .filter(|line| line.contains("can be written again"));
    assert_eq!(again.count(), 1, "{said:?}");
    up.wait_ready_within(RECOVERY);
    audit_all(&env, clients, &up.url());
}
