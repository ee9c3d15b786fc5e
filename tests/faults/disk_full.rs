//! The disk of PostgreSQL is full: orders are accepted all the same, and stored when there is room.

use support::Env;
use support::private::PrivatePostgres;

use super::{PausedLoad, is_red};

#[test]
fn while_the_disk_of_postgresql_is_full_orders_are_accepted_and_stored_when_there_is_room() {
    let mut postgres = PrivatePostgres::on_small_disk(200);
    let env = Env::on_postgres(&postgres).prepared(2);
    let (api, mut consumer) = (env.api(), env.consumer());
    let load = PausedLoad::start(&env, &api.url(), 1_200);
    load.post(20);
    // Room for a new segment of its journal; what follows fills the tables.
    env.db().run("SELECT pg_switch_wal(); CHECKPOINT");
    postgres.disk().fill_except(1024 * 1024);
    load.post_until("a full disk to be told", 1_800, || {
        is_red(&consumer, "No space left on device")
    });
    load.post(200);
    postgres.free_disk();
    consumer.wait_ready();
    load.finish_and_audit(&env, &api);
    assert!(consumer.is_running());
}
