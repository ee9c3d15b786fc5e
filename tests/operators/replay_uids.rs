//! `orders replay --uid`: single orders come back from the log, and nothing else changes.

use serde_json::{Value, json};
use support::kafka::RawRecord;
use support::on_both_engines;
use support::{Engines, Env, TIMEOUT, wait_until};

on_both_engines! {
    [
        an_order_that_was_deleted_comes_back_in_its_newest_version,
        an_api_that_has_cached_a_stale_order_returns_the_one_applied_again,
        each_record_has_its_outcome,
        an_erased_order_does_not_come_back_by_its_uid,
        replays_of_an_order_beside_its_consumer_double_nothing,
        nothing_is_applied_without_a_yes_or_a_record,
    ]
}

const DELETE: &str = "
    DELETE FROM items WHERE order_uid = 'a'; DELETE FROM payment WHERE order_uid = 'a';
    DELETE FROM delivery WHERE order_uid = 'a'; DELETE FROM orders WHERE order_uid = 'a'";

fn amounts(env: &Env) -> String {
    env.db()
        .text("SELECT order_uid, amount FROM payment ORDER BY order_uid")
}

fn replay(env: &Env, uid: &str) -> Value {
    let replay = ["replay", "--uid", uid, "--yes", "--output", "json"];
    env.orders(&replay).run().succeeds().json()
}

/// Offset and outcome of each record of the only order.
fn outcomes(report: &Value) -> Value {
    let records = report["orders"][0]["records"].as_array();
    let records = records.expect("the report has records").iter();
    records
        .map(|record| json!([record["offset"], record["outcome"]]))
        .collect()
}

fn verify(env: &Env) {
    env.orders(&["verify"]).run().succeeds();
}

fn an_order_that_was_deleted_comes_back_in_its_newest_version(engines: &Engines) {
    let env = engines.with_partitions(3);
    let (mut api, _consumer) = (env.api(), env.consumer());
    api.accepts("a");
    api.accepts("a");
    api.accepts("b");
    env.wait_until_applied();
    let before = env
        .db()
        .text("SELECT order_uid, source_offset FROM orders ORDER BY order_uid");
    env.db().run(DELETE);
    env.orders(&["verify"]).run().exits(3);

    let report = replay(&env, "a");
    assert_eq!(report["applied"], json!(1));
    let records = report["orders"][0]["records"].as_array();
    let outcomes = records.expect("there are records").iter();
    let outcomes: Vec<&Value> = outcomes.map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["older_version", "applied"]);
    let after = env
        .db()
        .text("SELECT order_uid, source_offset FROM orders ORDER BY order_uid");
    assert_eq!(after, before);
    assert_eq!(api.get_order("a").status, 200);
    // A data folder has one API.
    api.stop();
    let cold = env.serve_api().without_warm_up().start();
    assert_eq!(cold.get_order("a").status, 200);
    verify(&env);
}

fn an_api_that_has_cached_a_stale_order_returns_the_one_applied_again(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.log()
        .produce(&env.topic(), &[RawRecord::version("a", 1)]);
    env.wait_until_applied();
    env.db()
        .run("UPDATE payment SET amount = 7 WHERE order_uid = 'a'");
    let api = env.serve_api().without_warm_up().start();
    let amount = || api.get_order("a").expect_status(200).json()["payment"]["amount"].clone();
    assert_eq!(amount(), json!(7));

    assert_eq!(replay(&env, "a")["applied"], json!(1));
    wait_until("GET to return what is stored", TIMEOUT, || {
        amount() == json!(1)
    });
    assert_eq!(amounts(&env), "a|1");
    verify(&env);
}

fn each_record_has_its_outcome(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    let topic = env.topic();
    let broken = RawRecord::new("a", "{\"order_uid\":\"a\",");
    let records = [
        RawRecord::version("a", 1),
        RawRecord::version("a", 2),
        RawRecord::version("b", 1),
        broken,
    ];
    env.log().produce(&topic, &records);
    env.wait_until_applied();
    consumer.stop();
    env.log().produce(&topic, &[RawRecord::version("a", 3)]);
    env.db().run(DELETE);

    let ran = env
        .orders(&["replay", "--uid", "a", "--yes", "--output", "json"])
        .run()
        .succeeds();
    let expected = json!([
        [0, "older_version"],
        [1, "applied"],
        [3, "dead_letter"],
        [4, "waiting"]
    ]);
    assert_eq!(outcomes(&ran.json()), expected);
    ran.reports("what is a dead letter: orders dead-letters retry --uid UID");
    assert_eq!(amounts(&env), "a|2\nb|1");
    assert_eq!(env.db().text("SELECT next_offset FROM log_positions"), "4");
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(amounts(&env), "a|3\nb|1");
    assert_eq!(env.db().count("dead_letters"), 1);
    verify(&env);
}

fn an_erased_order_does_not_come_back_by_its_uid(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.log().produce(&env.topic(), &[RawRecord::order("a")]);
    env.wait_until_applied();
    env.orders(&["erase", "a", "--why", "ticket 7", "--yes"])
        .run()
        .succeeds();
    assert_eq!(outcomes(&replay(&env, "a")), json!([[0, "erased"]]));
    assert_eq!(env.db().count("orders"), 0);
    verify(&env);
}

fn replays_of_an_order_beside_its_consumer_double_nothing(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let topic = env.topic();
    env.log().produce(&topic, &[RawRecord::version("a", 1)]);
    env.wait_until_applied();
    let items = env.db().count("items");
    for version in 2..8 {
        let records: Vec<RawRecord> = (0..20).map(|_| RawRecord::version("a", version)).collect();
        env.log().produce(&topic, &records);
        replay(&env, "a");
    }
    env.wait_until_applied();
    assert_eq!(amounts(&env), "a|7");
    assert_eq!(env.db().count("items"), items);
    assert_eq!(env.db().count("dead_letters"), 0);
    let position = "SELECT epoch, next_offset FROM log_positions";
    assert_eq!(env.db().text(position), "1|121");
    verify(&env);
}

fn nothing_is_applied_without_a_yes_or_a_record(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.log().produce(&env.topic(), &[RawRecord::order("a")]);
    env.wait_until_applied();
    env.db().run(DELETE);
    let unasked = env.orders(&["replay", "--uid", "a"]).run().exits(2);
    unasked.reports("hint: pass --yes");
    let dry = env.orders(&["replay", "--uid", "a", "--dry-run"]).run();
    dry.succeeds()
        .reports("1 would be applied; nothing was written");
    assert_eq!(env.db().count("orders"), 0);
    let both = env.orders(&["replay", "--uid", "a", "--from", "0@0"]).run();
    both.exits(2).reports("cannot be used with");
    let unknown = ["replay", "--uid", "nobody", "--uid", "a", "--yes"];
    let unknown = env.orders(&unknown).run().exits(3);
    unknown.reports("no record of the order `nobody` was found");
    // The one that is there is applied all the same.
    assert_eq!(env.db().count("orders"), 1);
    verify(&env);
}
