//! Files that are deleted, replaced, truncated or foreign: reported with a hint, never overwritten, and
//! no 202 for an order whose file has no name.

use std::fs::{self, File};
use std::path::Path;

use support::audit::audit;
use support::private::free_port;
use support::{Env, SqliteFile, TIMEOUT, eventually};

use super::{RECOVERY, check_integrity, start_clients};

fn beside(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The only right answer: not accepted.
fn assert_refused(up: &support::Process, uid: &str) {
    let answer = up.post_order(uid);
    assert_eq!(answer.status, 503, "{}", answer.text());
}

#[test]
fn a_deleted_log_file_accepts_no_order_and_a_new_one_is_read_from_its_start() {
    let env = Env::embedded();
    let up = env.up();
    assert_eq!(up.post_order("before").status, 202);
    env.wait_until_applied();
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&env.log_file(), suffix)).expect("it is there");
    }
    assert_refused(&up, "lost");
    up.wait_until_unready("run `orders create-topics`");
    env.orders(&["create-topics"]).run().succeeds();
    eventually("orders to be accepted", RECOVERY, || {
        (up.post_order("after").status == 202).then_some(())
    });
    up.wait_ready_within(RECOVERY);
    let mut db = env.db();
    db.eventually("SELECT order_uid FROM orders ORDER BY 1", "after\nbefore");
    assert_eq!(db.count("log_gaps"), 1, "that it was another log is noted");
    check_integrity(env.data_dir());
}

#[test]
fn a_log_file_replaced_by_an_older_copy_is_noticed() {
    let env = Env::embedded();
    let up = env.up();
    for number in 0..5 {
        assert_eq!(up.post_order(&format!("old{number}")).status, 202);
    }
    let copy = env.path().join("copy.db");
    SqliteFile::new(&env.log_file()).run(&format!("VACUUM INTO '{}'", copy.display()));
    for number in 0..3 {
        assert_eq!(up.post_order(&format!("new{number}")).status, 202);
    }
    env.wait_until_applied();
    fs::rename(&copy, env.log_file()).expect("it can be replaced");
    // The WAL belongs to the previous file.
    let said = up.wait_until_unready("belongs to the one before: remove it, and its -shm");
    assert!(said.contains("t-orders.db-wal"), "{said}");
    assert_refused(&up, "lost");
    fs::remove_file(beside(&env.log_file(), "-wal")).expect("it is there");
    let _ = fs::remove_file(beside(&env.log_file(), "-shm"));
    // As many as were lost and more: the position is inside the log again, and yet elsewhere.
    for number in 0..6 {
        let uid = format!("again{number}");
        eventually("orders to be accepted", RECOVERY, || {
            (up.post_order(&uid).status == 202).then_some(())
        });
    }
    up.wait_ready_within(RECOVERY);
    let mut db = env.db();
    db.eventually("SELECT count(*) FROM orders", 14);
    assert_eq!(db.count("log_gaps"), 1, "that it was rewritten is noted");
    check_integrity(env.data_dir());
}

#[test]
fn a_truncated_log_file_is_reported_with_a_hint_and_not_written_to() {
    for keep in [2, 0] {
        let env = Env::embedded();
        let mut up = env.up();
        assert_eq!(up.post_order("before").status, 202);
        env.wait_until_applied();
        let wal = beside(&env.log_file(), "-wal");
        eventually("everything is in the file itself", TIMEOUT, || {
            (fs::metadata(&wal).ok()?.len() == 0).then_some(())
        });
        let half = keep * fs::metadata(env.log_file()).expect("it is there").len() / 4;
        let cut = File::options().write(true).open(env.log_file());
        cut.and_then(|file| file.set_len(half))
            .expect("it can be cut");
        assert_refused(&up, "lost");
        let said = up.wait_until_unready("t-orders.db`: ");
        assert!(said.contains("restore a backup"), "{said}");
        up.kill9();
        // Nor by a process that never saw it whole.
        let up = env.orders(&["up"]).spawn();
        up.wait_for_line("restore a backup");
        assert_eq!(
            fs::metadata(env.log_file()).expect("it is there").len(),
            half
        );
    }
}

#[test]
fn a_store_deleted_under_a_running_consumer_is_refilled_from_the_log() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let clients = start_clients(&env, &port);
    clients.wait_for_more(100);
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&env.store_file(), suffix)).expect("it is there");
    }
    let said = up.wait_until_unready("run `orders migrate`");
    assert!(said.contains("store.db"), "{said}");
    // The log is healthy.
    clients.wait_for_more(50);
    assert!(!env.store_file().exists(), "only `migrate` makes a store");
    env.orders(&["migrate"]).run().succeeds();
    up.wait_ready_within(RECOVERY);
    super::audit_all(&env, clients, &up.url());
}

#[test]
fn a_store_replaced_by_an_older_copy_is_refilled_from_the_log() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let clients = start_clients(&env, &port);
    clients.wait_for_more(100);
    let copy = env.path().join("copy.db");
    SqliteFile::new(&env.store_file()).run(&format!("VACUUM INTO '{}'", copy.display()));
    clients.wait_for_more(200);
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied();
    fs::rename(&copy, env.store_file()).expect("it can be replaced");
    // The WAL belongs to the previous file.
    let said = up.wait_until_unready("belongs to the one before: remove it, and its -shm");
    assert!(said.contains("store.db-wal"), "{said}");
    fs::remove_file(beside(&env.store_file(), "-wal")).expect("it is there");
    let _ = fs::remove_file(beside(&env.store_file(), "-shm"));
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
        assert_eq!(up.post_order(&format!("a{number}")).status, 202);
    }
    env.wait_until_applied();
    let backup = env.path().join("backup.db");
    SqliteFile::new(&env.store_file()).run(&format!("VACUUM INTO '{}'", backup.display()));
    assert_eq!(up.post_order("b").status, 202);
    env.wait_until_applied();
    SqliteFile::new(&env.store_file()).run("PRAGMA wal_checkpoint(TRUNCATE)");
    let half = fs::metadata(env.store_file()).expect("it is there").len() / 2;
    let cut = File::options().write(true).open(env.store_file());
    cut.and_then(|file| file.set_len(half))
        .expect("it can be cut");
    assert_eq!(up.post_order("c").status, 202, "the log is well");
    let said = up.wait_until_unready("restore a backup");
    assert!(said.contains("store.db`: "), "{said}");

    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(&env.store_file(), suffix));
    }
    fs::rename(&backup, env.store_file()).expect("it can be replaced");
    up.wait_ready_within(RECOVERY);
    env.db().eventually("SELECT count(*) FROM orders", 12);
    check_integrity(env.data_dir());
}

#[test]
fn foreign_files_are_reported_with_a_hint_and_not_changed() {
    let garbage = "no database, by far not, but long enough to be read as one. ".repeat(100);
    for file in ["store.db", "log/t-orders.db"] {
        let env = Env::embedded().prepared(1);
        let path = env.data_dir().join(file);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        fs::write(&path, &garbage).expect("it can be written");
        for command in ["up", "serve-api", "consume"] {
            if (file, command) == ("store.db", "serve-api") {
                // Only warms its cache with it.
                continue;
            }
            let process = env.orders(&[command]).spawn();
            let said = process.wait_for_line("restore a backup");
            assert!(said.contains(file), "{said}");
        }
        assert!(
            fs::read(&path).expect("it is there") == garbage.as_bytes(),
            "{file}"
        );
    }
}
