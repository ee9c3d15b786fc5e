//! PostgreSQL does not respond, or its reply is lost: a committed batch is applied once, and a lane that
//! gets no reply is abandoned.

use support::private::PrivatePostgres;
use support::proxy::Proxy;
use support::{Env, TIMEOUT};

use super::{assert_all_stored, orders, versions};

#[test]
fn a_commit_whose_reply_is_lost_is_applied_once() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let consumer = env.consume().env("DB_URL", through).start();
    env.produce(&orders("before", 3, 1, 1));
    env.wait_until_applied();

    proxy.drop_next_reply();
    env.produce(&orders("lost", 1, 2, 1));
    proxy.wait_until_reply_is_dropped();
    let mut db = env.db();
    // The transaction that wrote the row, and the ids of its items.
    let writer = "SELECT o.xmin, min(i.id), max(i.id) FROM orders o JOIN items i USING (order_uid)
                  WHERE order_uid = 'lost-0' GROUP BY 1";
    let committed = db.text(writer);
    assert_ne!(committed, "", "the server has committed");
    proxy.close_connections();

    env.produce(&orders("after", 3, 1, 1));
    let expected = versions(&[("before", 3, 1), ("lost", 1, 2), ("after", 3, 1)]);
    assert_all_stored(&env, &expected);
    assert_eq!(db.text(writer), committed, "the order is written once");
    consumer.wait_ready();
}

#[test]
fn a_lane_blocked_by_a_frozen_postgresql_is_abandoned_and_everything_is_stored_after_the_thaw() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    let consumer = env.consume().timeouts("lane=5000ms").start();
    env.produce(&orders("before", 50, 1, 2));
    env.wait_until_applied();

    postgres.freeze();
    let frozen = consumer.mark();
    env.produce(&orders("frozen", 50, 1, 2));
    env.produce(&orders("before", 50, 2, 2));
    consumer.wait_for_line_after(frozen, "abandoning", TIMEOUT);
    postgres.thaw();

    env.produce(&orders("frozen", 25, 2, 2));
    let expected = versions(&[("before", 50, 2), ("frozen", 50, 1), ("frozen", 25, 2)]);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}
