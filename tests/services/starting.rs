//! Services that start while a server is unavailable: they keep running, report it, and recover.

use support::audit::audit_offsets;
use support::private::{PrivateKafka, PrivatePostgres};
use support::{Env, http, returns_within, wait_until};

use super::{Outcome, POST_DEADLINE, Posted, RECOVERY, wait_for_check};

#[test]
fn both_services_start_before_kafka_and_recover_when_it_comes() {
    let mut kafka = PrivateKafka::stopped("");
    let env = Env::on_kafka(&kafka);
    env.orders(&["migrate"]).run().succeeds();
    let (mut api, mut consumer) = (env.serve_api().spawn(), env.consume().spawn());
    api.wait_until_unready(&format!("log `{}`", env.topic()));
    consumer.wait_until_unready("log");

    let mut posted = Posted::default();
    posted.at_once(&api, "early", 40);
    assert_eq!(posted.count("early", Outcome::Accepted), 0);
    let unknown = returns_within(POST_DEADLINE, || api.get_order("early-0"));
    unknown.expect_status(503);
    for alive in [
        format!("{}/healthz", api.url()),
        format!("{}/livez", api.admin_url()),
    ] {
        assert_eq!(http::get(&alive).status, 200, "{alive}");
    }

    kafka.restart();
    for service in [&api, &consumer] {
        service.wait_until_unready("orders create-topics");
    }
    env.orders(&["create-topics", "--partitions", "2"])
        .run()
        .succeeds();
    api.wait_ready_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    posted.all_accepted(&api, "late", 40);
    env.wait_until_applied_within(RECOVERY);
    posted.audit(&env);
    audit_offsets(&env);
    let stored = "SELECT count(*) FROM orders WHERE order_uid LIKE 'late-%'";
    assert_eq!(env.db().number(stored), 40);
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}

#[test]
fn both_services_start_before_postgresql_and_recover_when_it_comes() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    let before = (env.api(), env.consumer());
    Posted::default().all_accepted(&before.0, "before", 3);
    env.wait_until_applied();
    drop(before);
    postgres.stop();
    let (api, mut consumer) = (env.serve_api().spawn(), env.consume().spawn());
    consumer.wait_until_unready("database");
    // Orders need only the log; what is in no cache is looked up when the database is back.
    api.wait_ready();
    api.accepts("meanwhile");
    api.get_order("meanwhile").expect_status(200);
    api.get_order("before-0").expect_status(202);

    postgres.restart();
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    wait_until("the answer to the lookup", RECOVERY, || {
        api.get_order("before-0").status == 200
    });
    audit_offsets(&env);
    assert_eq!(env.db().count("dead_letters"), 0);
    wait_for_check(&api, "ok warm-up: the cache was warmed up with ");
    assert!(consumer.is_running());
}

#[test]
fn a_service_is_unready_until_the_migrations_are_applied() {
    let env = Env::empty();
    env.orders(&["create-topics"]).run().succeeds();
    let (api, consumer) = (env.serve_api().spawn(), env.consume().spawn());
    consumer.wait_until_unready("orders migrate");
    api.wait_ready();
    api.accepts("kept");
    env.orders(&["migrate"]).run().succeeds();
    consumer.wait_ready_within(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "kept");
}

#[test]
fn an_api_without_a_database_reports_that_its_cache_is_not_warmed_up() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let api = env.serve_api().without_env("DB_URL").start();
    api.wait_for_line("nothing is warmed up: no database is configured (DB_URL)");
    wait_for_check(
        &api,
        "ok warm-up: nothing is warmed up: no database is configured",
    );
    api.accepts("uid");
    api.get_order("uid").expect_status(200);
    api.get_order("absent").expect_status(404);
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_flag() {
    let env = Env::ready();
    let in_use = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = in_use.local_addr().expect("it is bound").to_string();
    for (command, variable, flag) in [
        ("serve-api", "HTTP_ADDR", "--http-addr"),
        ("serve-api", "ADMIN_ADDR", "--admin-addr"),
        ("consume", "ADMIN_ADDR", "--admin-addr"),
    ] {
        let ran = env
            .orders(&[command])
            .env(variable, &address)
            .run()
            .exits(1);
        let error = format!(
            "error: listening on `{address}` (`{flag}`): Address already in use (os error 98)\n\
             hint: choose another address with {flag} or {variable}; port 0 picks a free one\n"
        );
        assert!(ran.stderr.ends_with(&error), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}
