//! The embedded engines: one process or several, killed, out of disk space, on a failing disk, with
//! damaged files, migrated to Kafka and PostgreSQL. Only that migration and `up` use the servers.

mod damaged_files;
mod disk_errors;
mod disk_full;
mod folders;
mod kills;
mod locks;
mod log;
mod log_damage;
mod migration_to_servers;
mod permissions;
mod roles;
mod up;

use std::path::Path;
use std::time::Duration;

use support::audit::audit_all;
use support::load_client::{LoadClients, Workload};
use support::{Db, Env, Process, wait_until};

const RECOVERY: Duration = Duration::from_secs(30);

/// Waits until this order is accepted.
fn wait_until_accepted(up: &Process, uid: &str) {
    wait_until("an order to be accepted", RECOVERY, || {
        up.post_order(uid).status == 202
    });
}

/// Starts four clients that post as fast as they are answered.
fn start_clients(env: &Env, authority: &str) -> LoadClients {
    Workload::new(authority).invalid_every(20).start(env, 4)
}

/// `orders up` under load.
fn up_under_load(env: &Env) -> (Process, LoadClients) {
    let up = env.up();
    let clients = start_clients(env, &up.url());
    (up, clients)
}

/// Stops the clients and checks every promise, and all files.
fn stop_and_audit(env: &Env, clients: LoadClients, api: &Process) {
    audit_all(env, &clients.stop(RECOVERY), api);
    let mut db = env.db();
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    check_integrity(env.data_dir());
}

/// Checks the integrity of every file in the folder, those of the log included.
fn check_integrity(folder: &Path) {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            check_integrity(&path);
        } else if path.extension().is_some_and(|extension| extension == "db") {
            let result = Db::open_file(&path).text("PRAGMA integrity_check");
            assert_eq!(result, "ok", "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no files in {}", folder.display());
}
