//! The disk of PostgreSQL is full: orders are accepted all the same, and stored when there is room.

use support::private::PrivatePostgres;
use support::{Env, given};

use super::{Posting, is_red};

#[test]
fn while_the_disk_of_postgresql_is_full_orders_are_accepted_and_stored_when_there_is_room() {
    let mut postgres = PrivatePostgres::on_small_disk(200);
    let env = Env::on(&given("ORDERS_TEST_KAFKA"), &postgres.url()).prepared(2);
    let (api, mut consumer) = (env.api(), env.consumer());
    let posting = Posting::start(&env, &api.url(), 1_200);
    posting.post(20);
    // Room for a new segment of its journal; what follows fills the tables.
    env.db().run("SELECT pg_switch_wal(); CHECKPOINT");
    postgres.fill_disk(1024 * 1024);
    posting.post_until("a full disk to be told", 1_800, || {
        is_red(&consumer, "No space left on device")
    });
    posting.post(200);
    postgres.free_disk();
    consumer.wait_ready();
    posting.finish_and_audit(&env, &api);
    assert!(consumer.is_running());
}
