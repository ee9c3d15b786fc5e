//! `orders erase`: nothing brings an erased order back.

use serde_json::json;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::{Engines, Env};

on_both_engines! {
    [
        an_erased_order_is_gone_from_the_store_and_from_every_api,
        neither_a_replay_nor_a_late_record_brings_an_erased_order_back,
        an_order_that_is_not_there_is_3_and_stays_out,
        nothing_is_erased_without_a_yes,
    ]
}

fn erase(env: &Env, uid: &str) -> Option<i32> {
    let erase = ["erase", uid, "--why", "ticket 7", "--yes"];
    let ran = env.orders(&erase).run();
    ran.code()
}

fn an_erased_order_is_gone_from_the_store_and_from_every_api(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    for uid in ["a", "b"] {
        api.accepts(uid);
    }
    env.wait_until_applied();
    assert_eq!(api.get_order("a").status, 200);

    let ran = env
        .orders(&[
            "erase", "a", "--why", "ticket 7", "--yes", "--output", "json",
        ])
        .run()
        .succeeds();
    let report = ran.json();
    assert_eq!(report["was_stored"], json!(true));
    assert_eq!(report["apis_told"], json!(true));
    support::wait_until("the API to forget it", support::TIMEOUT, || {
        api.get_order("a").status == 404
    });
    assert_eq!(api.get_order("b").status, 200);
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "b");
    let trace = env.db().text("SELECT why, erased_by FROM erasures");
    assert!(
        trace.starts_with("ticket 7|") && trace.contains('@'),
        "{trace}"
    );

    // Posted again, it is a new order.
    api.accepts("a");
    env.wait_until_applied();
    assert_eq!(api.get_order("a").status, 200);
    assert_eq!(env.db().count("orders"), 2);
}

fn neither_a_replay_nor_a_late_record_brings_an_erased_order_back(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    let topic = env.topic();
    let broken = RawRecord::new("a", "{\"order_uid\":\"a\",");
    let records = [RawRecord::order("a"), broken, RawRecord::order("b")];
    env.log().produce(&topic, &records);
    env.wait_until_applied();
    assert_eq!(erase(&env, "a"), Some(0));
    let emptied = "SELECT key, payload, order_uid, resolution FROM dead_letters";
    assert_eq!(env.db().text(emptied), "|||erased");

    let accepted = "1700000000000000";
    let late = RawRecord::order("a").header("accepted-at", accepted);
    env.log().produce(&topic, &[late]);
    env.wait_until_applied();
    env.orders(&["replay", "--from", "0@0", "--yes"])
        .run()
        .succeeds();
    env.wait_until_applied();
    consumer.stop();
    let _restarted = env.consumer();
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT order_uid FROM orders"), "b");
    assert_eq!(env.db().text(emptied), "|||erased");
}

fn an_order_that_is_not_there_is_3_and_stays_out(engines: &Engines) {
    let env = engines.ready();
    env.log().produce(&env.topic(), &[RawRecord::order("a")]);
    // It waits: no consumer runs.
    assert_eq!(erase(&env, "a"), Some(3));
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 0);
}

fn nothing_is_erased_without_a_yes(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.log().produce(&env.topic(), &[RawRecord::order("a")]);
    env.wait_until_applied();
    let erase = ["erase", "a", "--why", "ticket 7"];
    let unasked = env.orders(&erase).run().exits(2);
    unasked.reports("hint: pass --yes");
    let dry = [&erase[..], &["--dry-run"]].concat();
    let dry = env.orders(&dry).run().succeeds();
    let text = "the order `a` is stored and would be erased; nothing was changed\n";
    dry.prints("", text);
    env.orders(&["erase", "a"])
        .run()
        .exits(2)
        .reports("--why <TEXT>");
    assert_eq!(env.db().count("orders"), 1);
}
