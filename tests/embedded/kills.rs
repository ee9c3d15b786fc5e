//! kill -9 at any moment: every order answered with 202 is stored, and no file is damaged.

use support::Env;
use support::private::free_address;

use super::{start_clients, stop_and_audit};

#[test]
fn everything_in_one_process_killed_repeatedly_keeps_every_202() {
    let env = Env::embedded();
    let port = free_address();
    let start = || env.orders(&["up"]).http_addr(&port).spawn();
    let clients = start_clients(&env, &port);
    // From its first order on.
    for orders in [1, 2, 4, 8, 16, 32, 64, 128, 1, 256, 3, 512] {
        let mut up = start();
        clients.wait_for_more(orders);
        up.kill9();
    }
    let up = start();
    up.wait_ready();
    stop_and_audit(&env, clients, &up);
}

#[test]
fn api_and_consumer_killed_in_turn_and_together_lose_and_duplicate_nothing() {
    let env = Env::embedded().prepared(3);
    let port = free_address();
    let serve = || env.serve_api().http_addr(&port).spawn();
    let (mut api, mut consumer) = (serve(), env.consume().spawn());
    let clients = start_clients(&env, &port);
    for kill in 0..15 {
        clients.wait_for_more([1, 20, 90, 5, 300][kill % 5]);
        if kill % 3 != 0 {
            api.kill9();
        }
        if kill % 3 != 1 {
            consumer.kill9();
            consumer = env.consume().spawn();
        }
        if kill % 3 != 0 {
            api = serve();
        }
    }
    api.wait_ready();
    consumer.wait_ready();
    stop_and_audit(&env, clients, &api);
}
