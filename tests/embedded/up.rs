//! `orders up`: everything in one process, on any engines.

use std::time::Duration;

use support::audit::{audit, audit_answers};
use support::load_client::Workload;
use support::orders::order;
use support::private::free_port;
use support::{Env, TIMEOUT};

#[test]
fn without_configuration_an_order_is_accepted_stored_and_returned() {
    let env = Env::embedded();
    let mut up = env.up();
    let greeting = up.wait_for_line("202 means that it is fsynced");
    assert!(greeting.contains("orders-data/log"), "{greeting}");
    let posted = up.post_order("a");
    assert_eq!(posted.status, 202, "{}", posted.text());
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT order_uid FROM payment"), "a");
    let got = up.get_order("a");
    assert_eq!((got.status, got.json()), (200, order("a")));
    let unknown = up.get_order("b");
    assert_eq!(unknown.status, 404, "{}", unknown.text());

    assert_eq!(up.stop().code(), Some(0));
    // Everything is there again, and the newest orders are in the cache.
    let up = env.up();
    up.wait_for_line("the cache was warmed up with 1 orders");
    let warm = up.get_order("a");
    assert_eq!(warm.header("cache-status"), Some("orders; hit"));
}

#[test]
fn the_demo_shows_every_hop_and_keeps_running() {
    let env = Env::embedded();
    let mut up = env.orders(&["up", "--demo"]).start();
    up.wait_for_line("Everything runs until Ctrl-C");
    assert!(up.is_running());
    up.wait_for_line("LOOKUP RECEIVED order_uid=b563feb7b2b84b6test");
    let got = up.get_order("b563feb7b2b84b6test");
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(up.stop().code(), Some(0));
    let shown = up.finished().stdout;
    for hop in [
        "POST /orders",
        "four tables",
        "from the API's cache",
        "with an empty cache",
    ] {
        let line = shown.lines().find(|line| line.contains(hop));
        let line = line.unwrap_or_else(|| panic!("no `{hop}` in\n{shown}"));
        assert!(line.contains(" ms"), "{line}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_flag() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let _taken = std::net::TcpListener::bind(&port).expect("the port is free");
    let refused = env.orders(&["up"]).env("HTTP_ADDR", &port).run().exits(1);
    assert!(refused.stderr.contains(&port), "{}", refused.stderr);
    assert!(refused.stderr.contains("--http-addr"), "{}", refused.stderr);
    let refused = env.orders(&["up"]).env("ADMIN_ADDR", &port).run().exits(1);
    assert!(
        refused.stderr.contains("--admin-addr"),
        "{}",
        refused.stderr
    );
}

#[test]
fn one_signal_under_load_drains_everything_in_time() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let start = || env.orders(&["up"]).env("HTTP_ADDR", &port).start();
    let mut up = start();
    let clients = Workload::new(&port).invalid_every(20).start(&env, 1);
    clients.wait_for_each(200, TIMEOUT);
    up.stop_within(Duration::from_secs(10));
    let up = start();
    let answers = clients.stop(TIMEOUT);
    env.wait_until_applied();
    audit(&env, &answers);
    audit_answers(&env, &up.url());
}

/// Each engine with each: what is promised does not depend on the pair.
#[test]
fn every_combination_of_engines_works() {
    let servers = Env::empty();
    let pairs = [
        ("embedded", "postgres"),
        ("kafka", "sqlite"),
        ("kafka", "postgres"),
    ];
    for (log, store) in pairs {
        let files = Env::embedded();
        let mut up = files.orders(&["up"]);
        up = match log {
            "kafka" => up.env("KAFKA_BROKERS", &servers.brokers),
            _ => up.env("KAFKA_BROKERS", "embedded"),
        };
        up = match store {
            "postgres" => up.env("DB_URL", &servers.db_url),
            _ => up.env("DB_URL", &files.db_url),
        };
        let uid = format!("{log}-{store}");
        let topic = format!("{}-{uid}", servers.topic());
        let up = up
            .env("KAFKA_TOPIC", &topic)
            .env("KAFKA_GROUP", format!("{topic}-group"))
            .env("KAFKA_LOOKUP_TOPIC", format!("{topic}-lookup"))
            .env("KAFKA_FOUND_TOPIC", format!("{topic}-found"))
            .env("KAFKA_LOOKUP_GROUP", format!("{topic}-lookups"))
            .start();
        let posted = up.post_order(&uid);
        assert_eq!(posted.status, 202, "{uid}: {}", posted.text());
        let mut db = if store == "postgres" {
            servers.db()
        } else {
            files.db()
        };
        let query = format!("SELECT order_uid FROM payment WHERE order_uid = '{uid}'");
        db.eventually(&query, &uid);
        let unknown = up.get_order("nobody");
        assert_eq!(unknown.status, 404, "{uid}: {}", unknown.text());
    }
}
