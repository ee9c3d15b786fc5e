//! kill -9 at any moment: every order answered with 202 is there, and no file is damaged.

use support::Env;
use support::private::free_port;

use super::{audit_all, start_clients};

#[test]
fn everything_in_one_process_killed_again_and_again_keeps_every_202() {
    let env = Env::embedded();
    let port = format!("127.0.0.1:{}", free_port());
    let start = || env.orders(&["up"]).env("HTTP_ADDR", &port).spawn();
    let clients = start_clients(&env, &port);
    // From its very first order on.
    for orders in [1, 2, 4, 8, 16, 32, 64, 128, 1, 256, 3, 512] {
        let mut up = start();
        clients.wait_for_more(orders);
        up.kill9();
    }
    let up = start();
    up.wait_ready();
    audit_all(&env, clients, &up.url());
}

#[test]
fn api_and_consumer_killed_in_turn_and_together_lose_and_duplicate_nothing() {
    let env = Env::embedded().prepared(3);
    let port = format!("127.0.0.1:{}", free_port());
    let serve = || env.serve_api().env("HTTP_ADDR", &port).spawn();
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
    audit_all(&env, clients, &api.url());
}
