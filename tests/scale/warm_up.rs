//! The cache's warm-up at the start of an API.

use support::{Env, TIMEOUT, eventually};

/// The most that CACHE_LOAD_LIMIT allows.
const LIMIT: u32 = 10_000;

const READ_WHOLE: &str = "SELECT CAST(sum(seq_tup_read) AS BIGINT) FROM pg_stat_user_tables
    WHERE relname IN ('orders', 'delivery', 'payment', 'items')";

const READ_BY_KEY: &str = "SELECT CAST(min(idx_tup_fetch) AS BIGINT) FROM pg_stat_user_tables
    WHERE relname IN ('orders', 'delivery', 'payment', 'items')";

/// Reading whole tables takes seconds on a million orders, however few are wanted.
#[test]
fn a_warm_up_does_not_read_whole_tables() {
    let env = Env::ready();
    // Its positions are those that the orders below name as their source.
    let mut consumer = env.consumer();
    env.db()
        .eventually("SELECT id, epoch FROM log_positions", "1|1");
    consumer.stop();
    env.db().insert_orders(3 * LIMIT);
    let mut db = env.db();
    // Only a source below the position counts.
    db.run(&format!(
        "UPDATE log_positions SET next_offset = {}",
        3 * LIMIT
    ));
    // A session reports what it read at its end.
    db.eventually(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
        0,
    );
    db.run("SELECT pg_stat_reset()");

    let api = env.serve_api().env("CACHE_LOAD_LIMIT", LIMIT.to_string());
    let mut api = api.start();
    api.wait_for_line(&format!("the cache was warmed up with {LIMIT} orders in "));
    api.stop();
    eventually("the statistics of the warm-up", TIMEOUT, || {
        (db.number(READ_BY_KEY) >= i64::from(LIMIT)).then_some(())
    });
    assert_eq!(
        db.number(READ_WHOLE),
        0,
        "rows of tables that were read whole"
    );
}
