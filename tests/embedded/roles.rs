//! One API and one consumer per data folder; commands in separate processes on one folder.

use support::Env;
use support::orders::order;

#[test]
fn a_second_api_or_consumer_on_a_folder_is_refused_with_the_holder() {
    let env = Env::embedded().prepared(1);
    let (api, consumer) = (env.api(), env.consumer());
    for (command, holder) in [("serve-api", &api), ("consume", &consumer), ("up", &api)] {
        let refused = env.orders(&[command]).run().exits(1);
        let named = format!("already: process {}", holder.id());
        assert!(refused.stderr.contains(&named), "{}", refused.stderr);
        let folder = env.data_dir().display().to_string();
        assert!(refused.stderr.contains(&folder), "{}", refused.stderr);
    }
}

#[test]
fn the_role_of_a_killed_process_is_free_again() {
    let env = Env::embedded().prepared(1);
    let mut api = env.api();
    api.kill9();
    let mut api = env.api();
    assert_eq!(api.stop().code(), Some(0));
    let _up = env.up();
}

#[test]
fn separate_processes_on_one_folder_are_a_pipeline() {
    let env = Env::embedded();
    env.orders(&["migrate"]).run().succeeds();
    env.orders(&["create-topics"]).run().succeeds();
    let api = env.serve_api().without_warm_up().start();
    let consumer = env.consumer();
    let sent = env
        .orders(&["send", "-"])
        .env("ORDERS_API_URL", api.url())
        .stdin(order("one").to_string())
        .run()
        .succeeds();
    assert_eq!(sent.stdout, "one\n");
    consumer.wait_for_line(" processed order one (offset 0)");
    assert_eq!(env.db().text("SELECT order_uid FROM payment"), "one");

    drop(api);
    let api = env.serve_api().without_warm_up().start();
    let cold = api.get_order("one");
    assert_eq!((cold.status, cold.json()), (200, order("one")));
    api.wait_for_line(" CACHE UPDATED order_uid=one source=order-found");
    api.get_order("two").expect_status(404);
}

#[test]
fn services_started_before_tables_and_topics_name_the_command_and_begin_after_it() {
    let env = Env::embedded();
    let (api, consumer) = (env.serve_api().spawn(), env.consume().spawn());
    consumer.wait_for_line("run `orders migrate`");
    consumer.wait_for_line("run `orders create-topics`");
    let env = env.prepared(1);
    api.wait_ready();
    consumer.wait_ready();
    api.post_order("a").expect_status(202);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1);
}
