//! `orders replay`: what was lost in the database comes back from the log, and nothing else changes.

use serde_json::json;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::{Engines, Env};

on_both_engines! {
    [
        orders_deleted_by_hand_come_back_without_a_restart,
        a_replay_under_load_loses_and_doubles_nothing,
        nothing_is_moved_without_a_yes,
        a_replay_of_what_is_not_there_is_refused,
    ]
}

fn versions(uids: std::ops::Range<u32>, version: u32) -> Vec<RawRecord> {
    uids.map(|number| RawRecord::version(&format!("o-{number}"), version))
        .collect()
}

fn amounts(env: &Env) -> String {
    env.db()
        .text("SELECT order_uid, amount FROM payment ORDER BY order_uid")
}

fn orders_deleted_by_hand_come_back_without_a_restart(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    let topic = env.topic();
    env.log().produce(&topic, &versions(0..6, 1));
    env.log().produce(&topic, &versions(0..3, 2));
    env.log()
        .produce(&topic, &[RawRecord::new("broken", "not an order")]);
    env.wait_until_applied();
    let before = amounts(&env);
    // The order of its parts: SQLite's foreign keys are off in a shell.
    env.db().run(
        "DELETE FROM items WHERE order_uid IN ('o-1', 'o-5');
         DELETE FROM payment WHERE order_uid IN ('o-1', 'o-5');
         DELETE FROM delivery WHERE order_uid IN ('o-1', 'o-5');
         DELETE FROM orders WHERE order_uid IN ('o-1', 'o-5')",
    );

    let mark = consumer.mark();
    let replay = ["replay", "--from", "0@3", "--why", "deleted", "--yes"];
    let replayed = env.orders(&replay).run().succeeds();
    replayed.prints(
        "partition  from  to  offsets\n0          3     10  7\n",
        "moved back; running consumers apply the records now, `orders lag` shows how far\n",
    );
    consumer.wait_for_line_after(mark, "was moved back from 10 to 3", support::TIMEOUT);
    env.wait_until_applied();
    assert_eq!(amounts(&env), before);
    assert_eq!(env.db().count("dead_letters"), 1);
    let position = "SELECT epoch, next_offset, moved_why FROM log_positions";
    assert_eq!(env.db().text(position), "1|10|deleted");
    assert_eq!(env.db().count("log_gaps"), 0);
}

fn a_replay_under_load_loses_and_doubles_nothing(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let topic = env.topic();
    env.log().produce(&topic, &versions(0..200, 1));
    env.wait_until_applied();
    for round in 2..6 {
        env.log().produce(&topic, &versions(0..200, round));
        let from = format!("0@{}", (round - 2) * 150);
        env.orders(&["replay", "--from", &from, "--yes"])
            .run()
            .succeeds();
    }
    env.wait_until_applied();
    let stored = env
        .db()
        .text("SELECT count(*), count(DISTINCT amount), min(amount) FROM payment");
    assert_eq!(stored, "200|1|5");
    assert_eq!(env.db().count("dead_letters"), 0);
    assert_eq!(env.db().text("SELECT epoch FROM log_positions"), "1");
}

fn nothing_is_moved_without_a_yes(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    env.log().produce(&env.topic(), &versions(0..4, 1));
    env.wait_until_applied();
    consumer.stop();
    let dry = ["replay", "--since", "-1h", "--dry-run", "--output", "json"];
    let expected = json!({
        "partitions": [{"partition": 0, "from": 0, "to": 4, "shortened": false}],
        "dry_run": true,
    });
    assert_eq!(env.orders(&dry).run().succeeds().json(), expected);
    let unasked = env.orders(&["replay", "--since", "-1h"]).run().exits(2);
    unasked.reports("hint: pass --yes");
    assert_eq!(env.db().text("SELECT next_offset FROM log_positions"), "4");
    // Nobody has to run: the next consumer takes the position up.
    let yes = ["replay", "--since", "2026-01-01", "--yes"];
    env.orders(&yes).run().succeeds();
    assert_eq!(env.db().text("SELECT next_offset FROM log_positions"), "0");
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(env.db().text("SELECT epoch FROM log_positions"), "1");
}

fn a_replay_of_what_is_not_there_is_refused(engines: &Engines) {
    let env = engines.ready();
    let refused = env.orders(&["replay", "--from", "9@0", "--yes"]).run();
    refused.exits(2).reports("has no partition 9");
    let unread = env.orders(&["replay", "--from", "0@0", "--yes"]).run();
    let nothing = "nothing to apply again: no position is past these offsets\n";
    unread.succeeds().prints("", nothing);
    let malformed = env.orders(&["replay", "--from", "3:0"]).run().exits(2);
    malformed.reports("`3:0` is not a partition and an offset, such as 3@1200");
}
