//! Connections to the database that are reset, slow or silent.

use std::time::Duration;

use support::kafka::RawRecord;
use support::proxy::{Mode, Proxy};
use support::{Env, TIMEOUT, http, wait_until};

const AMOUNT: &str = "SELECT p.amount, (SELECT count(*) FROM items), o.source_offset
                      FROM payment p JOIN orders o USING (order_uid)";

fn version(number: u32) -> RawRecord {
    RawRecord::version("one", number)
}

#[test]
fn nothing_is_lost_when_connections_are_reset_repeatedly() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let mut consumer = env.consume().env("DB_URL", &through).start();
    for number in 1..=20 {
        env.produce(&[version(number)]);
        proxy.set(Mode::Reset);
        let slow = Mode::Delay(Duration::from_millis(20));
        proxy.set(if number % 2 == 0 { Mode::Forward } else { slow });
    }
    proxy.set(Mode::Forward);
    env.wait_until_applied();
    assert_eq!(env.db().text(AMOUNT), "20|3|19");
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(consumer.is_running());
}

#[test]
fn a_database_behind_a_black_hole_is_waited_for() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    let mut consumer = env
        .consume()
        .env("DB_URL", &through)
        .timeouts("lane=5000ms,handshake=3000ms")
        .start();
    env.produce(&[version(1)]);
    env.wait_until_applied();
    proxy.set(Mode::BlackHole);
    env.produce(&[version(2)]);
    let mark = consumer.mark();
    consumer.wait_for_line_after(mark, "abandoning", TIMEOUT);
    proxy.close_connections();
    proxy.set(Mode::Forward);
    env.wait_until_applied();
    assert_eq!(env.db().text(AMOUNT), "2|3|1");
    assert!(consumer.is_running());
}

#[test]
fn a_database_that_accepts_a_connection_and_does_not_respond_is_reconnected() {
    let env = Env::ready();
    let (proxy, through) = Proxy::before_database(&env.db_url);
    // What is sent from here on is lost for good, on connections that stay open for good.
    proxy.set(Mode::BlackHole);
    let api = env.api();
    let mut consumer = env
        .consume()
        .env("DB_URL", &through)
        .timeouts("handshake=3000ms")
        .spawn();
    env.produce(&[version(1)]);
    let unknown = format!("{}/api/order/unknown", api.url());
    assert_eq!(http::get(&unknown).status, 202);
    consumer.wait_until_unready("it does not respond within");
    proxy.set(Mode::Forward);
    env.wait_until_applied();
    assert_eq!(env.db().text(AMOUNT), "1|2|0");
    consumer.wait_ready();
    // The thread that answers lookups has waited on a connection of its own.
    wait_until("the answer to a lookup", TIMEOUT, || {
        http::get(&unknown).status == 404
    });
    assert!(consumer.is_running());
}
