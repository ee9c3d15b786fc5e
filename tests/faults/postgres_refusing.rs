//! PostgreSQL accepts no connection for a while: it is starting, or all its connections are in use.

use support::private::PrivatePostgres;
use support::{Env, TIMEOUT, eventually};

use super::{Expected, assert_all_stored, expect, orders};

#[test]
fn a_postgresql_that_is_starting_or_out_of_connections_is_waited_for() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    let consumer = env.consumer();
    let (kafka, mut expected) = (env.kafka(), Expected::new());
    kafka.produce(&env.topic(), &orders("before", 50, 1, 2));
    env.wait_until_applied();

    postgres.stop();
    postgres.start_in_standby();
    kafka.produce(&env.topic(), &orders("starting", 50, 1, 2));
    consumer.wait_until_unready("SQLSTATE 57P03");
    postgres.leave_standby();
    env.wait_until_applied();

    let held = take_all_connections(&postgres, &env);
    kafka.produce(&env.topic(), &orders("crowded", 50, 1, 2));
    kafka.produce(&env.topic(), &orders("before", 50, 2, 2));
    consumer.wait_until_unready("SQLSTATE 53300");
    drop(held);
    expect(&mut expected, "before", 50, 2);
    expect(&mut expected, "starting", 50, 1);
    expect(&mut expected, "crowded", 50, 1);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

/// Takes connections, those of the consumer included, until there are none left.
fn take_all_connections(postgres: &PrivatePostgres, env: &Env) -> Vec<postgres::Client> {
    let (mut db, mut held) = (env.db(), Vec::new());
    eventually("all connections to be taken", TIMEOUT, || {
        while let Ok(connection) = postgres::Client::connect(&postgres.url(), postgres::NoTls) {
            held.push(connection);
        }
        let sessions = db.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'orders'",
        );
        (sessions == 0).then_some(())
    });
    held
}
