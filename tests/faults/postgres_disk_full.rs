//! A full disk of PostgreSQL: orders are accepted, and stored when there is space.

use support::Env;
use support::private::PrivatePostgres;

use super::PausedLoad;

#[test]
fn orders_accepted_while_the_disk_of_postgresql_is_full_are_stored_later() {
    let mut postgres = PrivatePostgres::on_small_disk(200);
    let env = Env::on_postgres(&postgres).prepared(2);
    let (api, mut consumer) = (env.api(), env.consumer());
    let load = PausedLoad::start(&env, &api.url(), 1_200);
    load.post(20);
    // Room for a new segment of its journal; what follows fills the tables.
    env.db().run("SELECT pg_switch_wal(); CHECKPOINT");
    postgres.disk().fill_except(1024 * 1024);
    load.post_until("a full disk to be told", 1_800, || {
        consumer.failing_check("No space left on device").is_some()
    });
    load.post(200);
    postgres.free_disk();
    consumer.wait_ready();
    load.finish_and_audit(&env, &api);
    assert!(consumer.is_running());
}
