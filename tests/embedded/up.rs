//! `orders up`: everything in one process, on any engines.

use std::time::Duration;

use support::audit::audit_all;
use support::load_client::Workload;
use support::orders::order;
use support::private::free_address;
use support::{Env, TIMEOUT};

#[test]
fn without_configuration_an_order_is_accepted_stored_and_returned() {
    let env = Env::embedded();
    let mut up = env.up();
    let line = up.wait_for_line("202 means that it is fsynced");
    assert!(line.contains("orders-data/log"), "{line}");
    up.post_order("a").expect_status(202);
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT order_uid FROM payment"), "a");
    let got = up.get_order("a");
    assert_eq!((got.status, got.json()), (200, order("a")));
    up.get_order("b").expect_status(404);

    assert_eq!(up.stop().code(), Some(0));
    // The newest orders are in the cache again.
    let up = env.up();
    up.wait_for_line("the cache was warmed up with 1 orders");
    let warm = up.get_order("a");
    assert_eq!(warm.header("cache-status"), Some("orders; hit"));
}

#[test]
fn the_demo_shows_every_step_and_keeps_running() {
    let env = Env::embedded();
    let mut up = env.orders(&["up", "--demo"]).start();
    up.wait_for_line("Everything runs until Ctrl-C");
    assert!(up.is_running());
    up.wait_for_line("LOOKUP RECEIVED order_uid=b563feb7b2b84b6test");
    up.get_order("b563feb7b2b84b6test").expect_status(200);
    assert_eq!(up.stop().code(), Some(0));
    let shown = up.finished().stdout;
    for step in [
        "POST /orders",
        "four tables",
        "from the API's cache",
        "with an empty cache",
    ] {
        let line = shown.lines().find(|line| line.contains(step));
        let line = line.unwrap_or_else(|| panic!("no `{step}` in\n{shown}"));
        assert!(line.contains(" ms"), "{line}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_flag() {
    let env = Env::embedded();
    let port = free_address();
    let _taken = std::net::TcpListener::bind(&port).expect("the port is free");
    let refused = env.orders(&["up"]).http_addr(&port).run().exits(1);
    assert!(refused.stderr.contains(&port), "{}", refused.stderr);
    assert!(refused.stderr.contains("--http-addr"), "{}", refused.stderr);
    let refused = env.orders(&["up"]).env("ADMIN_ADDR", &port).run().exits(1);
    let error = refused.stderr;
    assert!(error.contains("--admin-addr"), "{error}");
}

#[test]
fn one_signal_under_load_drains_everything_in_time() {
    let env = Env::embedded();
    let port = free_address();
    let start = || env.orders(&["up"]).http_addr(&port).start();
    let mut up = start();
    let clients = Workload::new(&port).invalid_every(20).start(&env, 1);
    clients.wait_for_each(200, TIMEOUT);
    up.stop_within(Duration::from_secs(10));
    let up = start();
    audit_all(&env, &clients.stop(TIMEOUT), &up);
}

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
        let brokers = if log == "kafka" {
            &servers.brokers
        } else {
            log
        };
        let stores = if store == "postgres" {
            &servers
        } else {
            &files
        };
        let uid = format!("{log}-{store}");
        let topic = format!("{}-{uid}", servers.topic());
        let up = files
            .orders(&["up"])
            .env("KAFKA_BROKERS", brokers)
            .env("DB_URL", &stores.db_url)
            .env("KAFKA_TOPIC", &topic)
            .env("KAFKA_GROUP", format!("{topic}-group"))
            .env("KAFKA_LOOKUP_TOPIC", format!("{topic}-lookup"))
            .env("KAFKA_FOUND_TOPIC", format!("{topic}-found"))
            .env("KAFKA_LOOKUP_GROUP", format!("{topic}-lookups"))
            .start();
        up.accepts(&uid);
        let query = format!("SELECT order_uid FROM payment WHERE order_uid = '{uid}'");
        stores.db().eventually(&query, &uid);
        up.get_order("nobody").expect_status(404);
    }
}
