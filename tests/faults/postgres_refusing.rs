//! PostgreSQL accepts no connection for a while: it is starting, or all its connections are in use.

use support::private::PrivatePostgres;
use support::{Env, TIMEOUT, wait_until};

use super::{assert_all_stored, orders, versions};

#[test]
fn a_postgresql_that_is_starting_or_out_of_connections_is_waited_for() {
    let mut postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(2);
    let consumer = env.consumer();
    env.produce(&orders("before", 50, 1, 2));
    env.wait_until_applied();

    postgres.stop();
    postgres.start_in_standby();
    env.produce(&orders("starting", 50, 1, 2));
    consumer.wait_until_unready("SQLSTATE 57P03");
    postgres.leave_standby();
    env.wait_until_applied();

    let held = use_all_connections(&postgres, &env);
    env.produce(&orders("refused", 50, 1, 2));
    env.produce(&orders("before", 50, 2, 2));
    consumer.wait_until_unready("SQLSTATE 53300");
    drop(held);
    let expected = versions(&[("before", 50, 2), ("starting", 50, 1), ("refused", 50, 1)]);
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

/// Opens connections in place of all others, those of the consumer included, until there are none left.
fn use_all_connections(postgres: &PrivatePostgres, env: &Env) -> Vec<postgres::Client> {
    let (mut db, mut held) = (env.db(), Vec::new());
    wait_until("all connections to be in use", TIMEOUT, || {
        while let Ok(connection) = postgres.connect() {
            held.push(connection);
        }
        db.terminate_sessions() == 0
    });
    held
}
