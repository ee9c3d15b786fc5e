//! The database is restored from an older dump while both services run.

use std::path::Path;

use support::private::PrivatePostgres;
use support::{Db, Env};

use super::PausedLoad;

#[test]
fn a_database_restored_from_an_older_dump_is_refilled_with_every_accepted_order() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    let (api, mut consumer) = (env.api(), env.consumer());
    let load = PausedLoad::start(&env, &api.url(), 1_000);
    load.post(300);
    let dump = postgres.data().join("dump.sql");
    succeed(&postgres, "pg_dump", &["--file"], &dump, &env.db_url);
    let at_dump = position(&env);

    load.post(500);
    env.wait_until_applied();
    assert!(position(&env) > at_dump, "there is something to lose");
    let name = env.db_url.rsplit('/').next().expect("a name").to_owned();
    let mut server = Db::open(&postgres.url());
    server.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
    consumer.wait_until_unready("does not exist");
    server.run(&format!("CREATE DATABASE {name} TEMPLATE template0"));
    let whole = ["-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f"];
    succeed(&postgres, "psql", &whole, &dump, &env.db_url);

    consumer.wait_ready();
    load.finish_and_audit(&env, &api);
    assert!(consumer.is_running());
}

fn position(env: &Env) -> i64 {
    env.db()
        .number("SELECT sum(next_offset)::bigint FROM log_positions")
}

fn succeed(postgres: &PrivatePostgres, program: &str, options: &[&str], file: &Path, url: &str) {
    let ran = postgres
        .program(program)
        .args(options)
        .arg(file)
        .arg(url)
        .output()
        .expect("the program can be started");
    assert!(ran.status.success(), "{program}: {ran:?}");
}
