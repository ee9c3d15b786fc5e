//! kill -9 at any moment: what was answered with 202 is there, and no file is damaged.

use std::path::Path;
use std::time::Duration;

use crate::env::auditor::{Poster, Record, Task, audit, audit_answers};
use crate::env::private::free_port;
use crate::env::{Db, Env, eventually};

const RECOVERY: Duration = Duration::from_secs(30);

fn posters(env: &Env, authority: &str) -> [Poster; 4] {
    [0, 1, 2, 3].map(|number| {
        let task = Task {
            authority: authority.to_owned(),
            prefix: format!("poster{number}"),
            orders: u32::MAX,
            poison_every: 20,
        };
        Poster::start(env, &task)
    })
}

fn await_more(posters: &[Poster], orders: usize) {
    let accepted = || posters.iter().map(Poster::accepted).sum::<usize>();
    let before = accepted();
    eventually("orders to be accepted", RECOVERY, || {
        (accepted() >= before + orders).then_some(())
    });
}

fn audit_all(env: &Env, posters: [Poster; 4], api_url: &str) {
    let records = posters.into_iter().map(|poster| poster.end(RECOVERY));
    let record = records.reduce(Record::merge).expect("there were posters");
    env.wait_until_applied_within(RECOVERY);
    audit(env, &record);
    audit_answers(env, api_url);
    let mut db = env.db();
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    check_integrity(&env.data_dir());
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

#[test]
fn everything_in_one_process_killed_again_and_again_keeps_every_202() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let start = || env.orders(&["up"]).env("HTTP_ADDR", &port).spawn();
    let posters = posters(&env, &port);
    // From its very first order on.
    for orders in [1, 2, 4, 8, 16, 32, 64, 128, 1, 256, 3, 512] {
        let mut up = start();
        await_more(&posters, orders);
        up.kill9();
    }
    let up = start();
    up.wait_ready();
    audit_all(&env, posters, &up.url());
}

#[test]
fn api_and_consumer_killed_in_turn_and_together_lose_and_double_nothing() {
    let env = Env::embedded().prepared(3);
    let port = format!("127.0.0.1:{}", free_port());
    let serve = || env.serve_api().env("HTTP_ADDR", &port).spawn();
    let (mut api, mut consumer) = (serve(), env.consume().spawn());
    let posters = posters(&env, &port);
    for kill in 0..15 {
        await_more(&posters, [1, 20, 90, 5, 300][kill % 5]);
        if kill % 3 != 0 {
            api.kill9();
        }
        if kill % 3 != 1 {
            consumer.kill9();
            consumer = env.consume().spawn();
        }
        if kill % 3 != 0 {
            api = serve();
        }
    }
    api.wait_ready();
    consumer.wait_ready();
    audit_all(&env, posters, &api.url());
}
