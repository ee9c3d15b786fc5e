//! A database that did what it was asked and never says so, or says nothing at all.

use std::time::Duration;

use crate::env::kafka::Outgoing;
use crate::env::orders::order_version;
use crate::env::private::PrivatePostgres;
use crate::env::proxy::{Mode, Proxy};
use crate::env::{Env, given};

const AMOUNT: &str = "SELECT p.amount, (SELECT count(*) FROM items), o.source_offset FROM payment p JOIN orders o USING (order_uid)";

fn version(number: u32) -> Outgoing {
    Outgoing::new("one", order_version("one", number).to_string())
}

#[test]
fn a_commit_whose_answer_is_lost_is_applied_once() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let mut consumer = env.consume().env("DB_URL", &through).start();
    env.kafka().produce(&env.topic(), &[version(1)]);
    env.wait_until_applied();

    for number in 2..6 {
        proxy.swallow_next_commit();
        env.kafka().produce(&env.topic(), &[version(number)]);
        proxy.wait_until_swallowed();
        proxy.cut();
        env.kafka().produce(&env.topic(), &[version(number + 10)]);
        env.wait_until_applied();
    }
    let mut db = env.db();
    // Offsets 0 to 8, the last version 15 with one item.
    assert_eq!(db.text(AMOUNT), "15|1|8");
    assert_eq!(
        db.text("SELECT next_offset, epoch FROM log_positions"),
        "9|1"
    );
    assert_eq!((db.count("dead_letters"), db.count("log_gaps")), (0, 0));
    assert!(consumer.is_running());
}

#[test]
fn connections_that_are_reset_over_and_over_lose_nothing() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let mut consumer = env.consume().env("DB_URL", &through).start();
    for number in 1..=20 {
        env.kafka().produce(&env.topic(), &[version(number)]);
        proxy.set(Mode::Reset);
        proxy.set(if number % 2 == 0 {
            Mode::Forward
        } else {
            Mode::Delay(Duration::from_millis(20))
        });
    }
    proxy.set(Mode::Forward);
    env.wait_until_applied();
    assert_eq!(env.db().text(AMOUNT), "20|3|19");
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(consumer.is_running());
}

#[test]
fn a_frozen_postgresql_costs_its_connection_and_nothing_else() {
    let postgres = PrivatePostgres::start();
    let env = Env::on(&given("ORDERS_TEST_KAFKA"), &postgres.url()).prepared(1);
    let mut consumer = env.consumer();
    env.kafka().produce(&env.topic(), &[version(1)]);
    env.wait_until_applied();

    postgres.freeze();
    env.kafka().produce(&env.topic(), &[version(2), version(3)]);
    // No socket timeout fires: the kernel of a frozen server acknowledges on. The lane is given up.
    let mark = consumer.mark();
    consumer.wait_for_line_after(mark, "45 s", Duration::from_secs(75));
    postgres.thaw();
    env.wait_until_applied_within(Duration::from_secs(60));
    assert_eq!(env.db().text(AMOUNT), "3|1|2");
    assert_eq!(env.db().count("dead_letters"), 0);
    consumer.wait_ready();
    assert!(consumer.is_running());
}

#[test]
fn a_database_behind_a_black_hole_is_waited_for() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let mut consumer = env.consume().env("DB_URL", &through).start();
    env.kafka().produce(&env.topic(), &[version(1)]);
    env.wait_until_applied();
    proxy.set(Mode::BlackHole);
    env.kafka().produce(&env.topic(), &[version(2)]);
    let mark = consumer.mark();
    consumer.wait_for_line_after(mark, "45 s", Duration::from_secs(75));
    proxy.cut();
    proxy.set(Mode::Forward);
    env.wait_until_applied_within(Duration::from_secs(60));
    assert_eq!(env.db().text(AMOUNT), "2|3|1");
    assert!(consumer.is_running());
}
