//! Files that are deleted, replaced, truncated or foreign: reported with a hint, never overwritten, and
//! no 202 for an order in a deleted file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use support::audit::audit;
use support::{Env, SqliteFile, TIMEOUT, wait_until};

use super::{RECOVERY, check_integrity, stop_and_audit, up_under_load, wait_until_accepted};

/// The file and those that belong to it.
fn remove_with_wal(file: &Path) {
    fs::remove_file(file).expect("it exists");
    remove_wal(file);
}

fn remove_wal(file: &Path) {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(wal_file(file, suffix));
    }
}

fn wal_file(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Copies the content of a file that is in use.
fn backup(file: &Path, copy: &Path) {
    SqliteFile::new(file).run(&format!("VACUUM INTO '{}'", copy.display()));
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).expect("it exists").len()
}

fn truncate(file: &Path, length: u64) {
    let cut = File::options().write(true).open(file);
    cut.and_then(|file| file.set_len(length))
        .expect("it can be truncated");
}

#[test]
fn a_deleted_log_file_accepts_no_order_and_a_new_one_is_read_from_its_start() {
    let env = Env::embedded();
    let up = env.up();
    up.accepts("before");
    env.wait_until_applied();
    remove_with_wal(&env.log_file());
    up.post_order("lost").expect_status(503);
    up.wait_until_unready("run `orders create-topics`");
    env.orders(&["create-topics"]).run().succeeds();
    wait_until_accepted(&up, "after");
    up.wait_ready_within(RECOVERY);
    let mut db = env.db();
    db.eventually("SELECT order_uid FROM orders ORDER BY 1", "after\nbefore");
    assert_eq!(db.count("log_gaps"), 1, "the other log is recorded");
    check_integrity(env.data_dir());
}

#[test]
fn a_log_file_replaced_by_an_older_copy_is_noticed() {
    let env = Env::embedded();
    let up = env.up();
    for number in 0..5 {
        up.accepts(&format!("old{number}"));
    }
    let copy = env.path().join("copy.db");
    backup(&env.log_file(), &copy);
    for number in 0..3 {
        up.accepts(&format!("new{number}"));
    }
    env.wait_until_applied();
    fs::rename(&copy, env.log_file()).expect("it can be replaced");
    // The WAL belongs to the previous file.
    let report = up.wait_until_unready("belongs to the one before: remove it, and its -shm");
    assert!(report.contains("t-orders.db-wal"), "{report}");
    up.post_order("lost").expect_status(503);
    remove_wal(&env.log_file());
    // More than were lost: the position is inside the log again, after other records.
    for number in 0..6 {
        let uid = format!("again{number}");
        wait_until_accepted(&up, &uid);
    }
    up.wait_ready_within(RECOVERY);
    let mut db = env.db();
    db.eventually("SELECT count(*) FROM orders", 14);
    assert_eq!(db.count("log_gaps"), 1, "the rewritten log is recorded");
    check_integrity(env.data_dir());
}

#[test]
fn a_truncated_log_file_is_reported_with_a_hint_and_not_written_to() {
    for keep in [2, 0] {
        let env = Env::embedded();
        let mut up = env.up();
        up.accepts("before");
        env.wait_until_applied();
        let wal = wal_file(&env.log_file(), "-wal");
        wait_until("the WAL to be emptied", TIMEOUT, || length(&wal) == 0);
        let rest = keep * length(&env.log_file()) / 4;
        truncate(&env.log_file(), rest);
        up.post_order("lost").expect_status(503);
        let report = up.wait_until_unready("t-orders.db`: ");
        assert!(report.contains("restore a backup"), "{report}");
        up.kill9();
        // Nor by a process that starts later.
        let up = env.orders(&["up"]).spawn();
        up.wait_for_line("restore a backup");
        assert_eq!(length(&env.log_file()), rest);
    }
}

#[test]
fn a_store_deleted_under_a_running_consumer_is_refilled_from_the_log() {
    let env = Env::embedded();
    let (up, clients) = up_under_load(&env);
    clients.wait_for_more(100);
    remove_with_wal(&env.store_file());
    let report = up.wait_until_unready("run `orders migrate`");
    assert!(report.contains("store.db"), "{report}");
    // The log is healthy.
    clients.wait_for_more(50);
    assert!(!env.store_file().exists(), "only `migrate` creates a store");
    env.orders(&["migrate"]).run().succeeds();
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&env, clients, &up);
}

#[test]
fn a_store_replaced_by_an_older_copy_is_refilled_from_the_log() {
    let env = Env::embedded();
    let (up, clients) = up_under_load(&env);
    clients.wait_for_more(100);
    let copy = env.path().join("copy.db");
    backup(&env.store_file(), &copy);
    clients.wait_for_more(200);
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied();
    fs::rename(&copy, env.store_file()).expect("it can be replaced");
    // The WAL belongs to the previous file.
    let report = up.wait_until_unready("belongs to the one before: remove it, and its -shm");
    assert!(report.contains("store.db-wal"), "{report}");
    remove_wal(&env.store_file());
    up.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
    check_integrity(env.data_dir());
}

#[test]
fn a_truncated_store_is_reported_with_a_hint_and_a_backup_is_refilled_from_the_log() {
    let env = Env::embedded();
    let up = env.up();
    for number in 0..10 {
        up.accepts(&format!("a{number}"));
    }
    env.wait_until_applied();
    let copy = env.path().join("backup.db");
    backup(&env.store_file(), &copy);
    up.accepts("b");
    env.wait_until_applied();
    SqliteFile::new(&env.store_file()).run("PRAGMA wal_checkpoint(TRUNCATE)");
    truncate(&env.store_file(), length(&env.store_file()) / 2);
    // The log is healthy.
    up.accepts("c");
    let report = up.wait_until_unready("restore a backup");
    assert!(report.contains("store.db`: "), "{report}");

    remove_wal(&env.store_file());
    fs::rename(&copy, env.store_file()).expect("it can be replaced");
    up.wait_ready_within(RECOVERY);
    env.db().eventually("SELECT count(*) FROM orders", 12);
    check_integrity(env.data_dir());
}

#[test]
fn foreign_files_are_reported_with_a_hint_and_not_changed() {
    let garbage = "not a database, and long enough to be read as one. ".repeat(100);
    for file in ["store.db", "log/t-orders.db"] {
        let env = Env::embedded().prepared(1);
        let path = env.data_dir().join(file);
        remove_wal(&path);
        fs::write(&path, &garbage).expect("it can be written");
        for command in ["up", "serve-api", "consume"] {
            if (file, command) == ("store.db", "serve-api") {
                // It only warms its cache from the store.
                continue;
            }
            let process = env.orders(&[command]).spawn();
            let report = process.wait_for_line("restore a backup");
            assert!(report.contains(file), "{report}");
        }
        assert_eq!(fs::read_to_string(&path).expect("it exists"), garbage);
    }
}
