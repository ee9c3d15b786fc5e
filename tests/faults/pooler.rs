//! A true PgBouncer with transaction pooling is refused by name, and nothing is left behind in its pool.

use std::time::{Duration, Instant};

use support::private::PgBouncer;
use support::{Db, Env};

/// As packaged, and as people set it so that clients with `options` get in.
const SETTINGS: [&str; 2] = ["", "ignore_startup_parameters = options"];

/// A pooler in front of the database of the test, and the URL that leads through it.
fn pooled(env: &Env, settings: &str) -> (PgBouncer, String) {
    let (server, database) = env.db_url.rsplit_once('/').expect("the URL has a database");
    let (_, address) = server.rsplit_once('@').expect("the URL has a user");
    let (host, port) = address.rsplit_once(':').expect("the URL has a port");
    let pooler = PgBouncer::start(host, port, settings);
    let url = format!("postgresql://postgres@{}/{database}", pooler.address());
    (pooler, url)
}

#[test]
fn a_transaction_pooler_is_refused_by_name_and_at_once() {
    for settings in SETTINGS {
        let env = Env::empty();
        let (pooler, url) = pooled(&env, settings);
        let began = Instant::now();
        for args in [
            &["migrate"][..],
            &["migrate", "--dry-run"],
            &["migrate", "--status"],
        ] {
            let refused = env.orders(args).env("DB_URL", &url).run().exits(1);
            let said = &refused.stderr;
            assert!(said.contains("PgBouncer"), "{said}{}", pooler.log());
            assert!(said.contains("connect to PostgreSQL itself"), "{said}");
            assert!(said.contains(&pooler.address()), "{said}");
            assert!(!said.contains("start it"), "{said}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "it is not waited for"
        );
    }
}

#[test]
fn nothing_is_left_behind_in_the_pool_of_a_refused_pooler() {
    let env = Env::ready();
    // One connection to the server, which every client gets in turn.
    let settings = format!("{}\ndefault_pool_size = 1", SETTINGS[1]);
    let (_pooler, url) = pooled(&env, &settings);
    env.orders(&["migrate"]).env("DB_URL", &url).run().exits(1);
    let consumer = env.consume().env("DB_URL", &url).spawn();
    consumer.wait_until_unready("PgBouncer");
    env.kafka()
        .produce(&env.topic(), &super::orders("pooled", 3, 1, 1));
    drop(consumer);

    let mut next = Db::open(&url);
    let ours = "SELECT count(*) FROM pg_prepared_statements
                UNION ALL SELECT count(*) FROM pg_locks
                    WHERE locktype = 'advisory' AND pid = pg_backend_pid()
                UNION ALL SELECT count(*) FROM pg_settings
                    WHERE source = 'session' AND name IN ('statement_timeout', 'lock_timeout',
                        'enable_seqscan', 'plan_cache_mode', 'idle_in_transaction_session_timeout')
                UNION ALL SELECT count(*) FROM orders";
    assert_eq!(next.text(ours), "0\n0\n0\n0");
    // The database itself works.
    drop(next);
    let _consumer = env.consumer();
    env.wait_until_applied();
}
