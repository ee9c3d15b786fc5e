//! The embedded engines as their users meet them: one process or several, killed, out of room, on a
//! failing disk, files damaged under their hands, moved up to Kafka and PostgreSQL. No server is used
//! but where a test says so.

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
use support::http::{self, Response};
use support::load_client::{LoadClients, Workload};
use support::orders::order;
use support::{Db, Env, Process, TIMEOUT, eventually};

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

/// Posts one order.
fn post(process: &Process, uid: &str) -> Response {
    http::post(&format!("{}/orders", process.url()), order(uid).to_string())
}

/// Asks for one order.
fn get(process: &Process, uid: &str) -> Response {
    http::get(&format!("{}/api/order/{uid}", process.url()))
}

/// Waits until /readyz is red and one failing check has this text; gives that line.
fn wait_until_unready(process: &Process, naming: &str) -> String {
    eventually(format!("readiness names `{naming}`"), TIMEOUT, || {
        let (status, said) = process.readiness();
        let mut failing = said.lines().filter(|line| line.starts_with("FAIL "));
        let named = failing
            .find(|line| line.contains(naming))
            .map(str::to_owned);
        named.filter(|_| status == 503)
    })
}
