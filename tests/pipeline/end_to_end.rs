//! The steps of go-orders' README: send, store, cache hit, restart, lookup.

use serde_json::Value;
use support::on_both_engines;
use support::{Engines, Env, Process};

on_both_engines! {
    [
        an_order_is_sent_stored_cached_and_looked_up_after_a_restart,
        a_sent_order_is_printed_by_get,
        a_restarted_api_warms_its_cache_with_the_newest_orders,
        the_store_holds_every_field_of_the_order,
    ]
}

const UID: &str = "b563feb7b2b84b6test";

fn example() -> String {
    format!("{}/examples/test_order.json", env!("CARGO_MANIFEST_DIR"))
}

fn example_order() -> Value {
    let text = std::fs::read_to_string(example()).expect("the example is there");
    serde_json::from_str(&text).expect("the example is JSON")
}

fn send_example(env: &Env, api: &Process) {
    let send = env.orders(&["send", &example()]);
    send.env("ORDERS_API_URL", api.url()).run().succeeds();
}

/// Panics unless the API returns the example from its cache.
fn assert_cached(api: &Process) {
    let answer = api.get_order(UID).expect_status(200);
    assert_eq!(answer.json(), example_order());
    assert!(answer.is_cache_hit(), "{:?}", answer.headers);
}

fn an_order_is_sent_stored_cached_and_looked_up_after_a_restart(engines: &Engines) {
    let env = engines.ready();
    let (api, consumer) = (env.api(), env.consumer());
    send_example(&env, &api);
    consumer.wait_for_line(&format!(" processed order {UID} (offset 0)"));
    let mut db = env.db();
    for table in ["orders", "delivery", "payment", "items"] {
        let stored = db.text(&format!("SELECT order_uid FROM {table}"));
        assert_eq!(stored, UID, "{table}");
    }
    assert_cached(&api);

    drop(api);
    let api = env.serve_api().without_warm_up().start();
    let cold = api.get_order(UID).expect_status(200);
    assert_eq!(cold.json(), example_order());
    for line in [
        format!(" LOOKUP RECEIVED order_uid={UID} action=query-db"),
        format!(" DB QUERY order_uid={UID}"),
        format!(" DB FOUND order_uid={UID}"),
        format!(" published order-found for {UID}"),
    ] {
        consumer.wait_for_line(&line);
    }
    api.wait_for_line(&format!(
        " CACHE UPDATED order_uid={UID} source=order-found"
    ));
    assert_cached(&api);
}

fn a_sent_order_is_printed_by_get(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    send_example(&env, &api);
    let get = env.orders(&["get", UID, "--output", "json", "--wait", "10s"]);
    let printed = get.env("ORDERS_API_URL", api.url()).run().succeeds();
    assert_eq!(printed.json(), example_order());
}

fn a_restarted_api_warms_its_cache_with_the_newest_orders(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    send_example(&env, &api);
    env.wait_until_applied();

    drop(api);
    let api = env.api();
    api.wait_for_line("the cache was warmed up with 1 orders");
    assert_cached(&api);
}

fn the_store_holds_every_field_of_the_order(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    api.post(example_order().to_string()).expect_status(202);
    env.wait_until_applied();

    let mut db = env.db();
    let date_created = db.timestamp("date_created");
    assert_eq!(
        db.text(&format!(
            "SELECT track_number, entry, locale, internal_signature, customer_id, delivery_service,
                    shardkey, sm_id, {date_created}, oof_shard FROM orders"
        )),
        "WBILMTESTTRACK|WBIL|en||test|meest|9|99|2021-11-26T06:22:19.000000Z|1"
    );
    assert_eq!(
        db.text("SELECT name, phone, zip, city, address, region, email FROM delivery"),
        "Test Testov|+9720000000|2639809|Kiryat Mozkin|Ploshad Mira 15|Kraiot|test@gmail.com"
    );
    assert_eq!(
        db.text(
            "SELECT transaction_id, request_id, currency, provider, amount, payment_dt, bank,
                    delivery_cost, goods_total, custom_fee FROM payment"
        ),
        "b563feb7b2b84b6test||USD|wbpay|1817|1637907727|alpha|1500|317|0"
    );
    assert_eq!(
        db.text(
            "SELECT chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand,
                    status FROM items"
        ),
        "9934930|WBILMTESTTRACK|453|ab4219087a764ae0btest|Mascaras|30|0|317|2389212|Vivienne Sabo|202"
    );
}
