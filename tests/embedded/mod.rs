//! The embedded engines: one process or several, killed, out of disk space, on a failing disk, with
//! damaged files, moved to Kafka and PostgreSQL. Servers are used only where a test says so.

mod damaged_files;
mod disk_errors;
mod disk_full;
mod folders;
mod kills;
mod locks;
mod log;
mod log_damage;
mod moving_up;
mod roles;
mod up;

use std::path::Path;
use std::time::Duration;

use support::audit::{audit, audit_answers};
use support::load_client::{LoadClients, Workload};
use support::{Db, Env};

const RECOVERY: Duration = Duration::from_secs(30);

/// Starts four clients that post as fast as they are answered.
fn start_clients(env: &Env, authority: &str) -> LoadClients {
    Workload::new(authority).invalid_every(20).start(env, 4)
}

/// Stops the clients and compares everything with what they were promised.
fn audit_all(env: &Env, clients: LoadClients, api_url: &str) {
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    audit(env, &answers);
    audit_answers(env, api_url);
    let mut db = env.db();
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    check_integrity(env.data_dir());
}

/// Every file of the folder, the log's too, is as SQLite would have it.
fn check_integrity(folder: &Path) {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            check_integrity(&path);
        } else if path.extension().is_some_and(|extension| extension == "db") {
            let said = Db::open_file(&path).text("PRAGMA integrity_check");
            assert_eq!(said, "ok", "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no files in {}", folder.display());
}
