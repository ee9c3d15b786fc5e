//! Which version of an order is stored: the later one in a log, the later accepted one across logs.

use support::Engines;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order_version;

on_both_engines! {
    [
        the_later_of_two_versions_in_one_batch_is_stored_whole,
        a_replay_from_the_start_of_the_log_changes_no_order,
        an_older_version_in_a_recreated_topic_does_not_overwrite_a_newer_one,
        a_row_of_another_program_is_older_than_any_record,
        the_api_and_the_store_agree_on_the_last_of_many_concurrent_posts,
    ]
}

const AMOUNT: &str = "SELECT p.amount, (SELECT count(*) FROM items) FROM payment p";

fn version(uid: &str, version: u32, accepted_at_us: i64) -> RawRecord {
    RawRecord::version(uid, version).header("accepted-at", accepted_at_us.to_string())
}

fn the_later_of_two_versions_in_one_batch_is_stored_whole(engines: &Engines) {
    let env = engines.ready();
    let versions: Vec<RawRecord> = (1..=5)
        .map(|number| version("same", number, 1_000))
        .collect();
    env.produce(&versions);
    let _consumer = env.consumer();
    env.wait_until_applied();
    // Version 5 has three items.
    assert_eq!(env.db().text(AMOUNT), "5|3");
}

fn a_replay_from_the_start_of_the_log_changes_no_order(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    for number in 1..=4 {
        env.produce(&[version("again", number, 1_000)]);
        env.wait_until_applied();
    }
    assert_eq!(consumer.stop().code(), Some(0));
    let mut db = env.db();
    let rows =
        "SELECT * FROM orders JOIN delivery USING (order_uid) JOIN payment USING (order_uid)";
    let before = db.text(rows);

    db.run("UPDATE log_positions SET next_offset = 0, tail_offset = NULL, tail_digest = NULL");
    let _consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(db.text(rows), before);
    assert_eq!(db.text(AMOUNT), "4|2");
}

fn an_older_version_in_a_recreated_topic_does_not_overwrite_a_newer_one(engines: &Engines) {
    let env = engines.ready();
    let mut consumer = env.consumer();
    env.produce(&[
        version("kept", 7, 2_000_000),
        version("other", 1, 2_000_000),
    ]);
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    env.recreate_topic();
    env.produce(&[
        version("kept", 3, 1_000_000),
        version("other", 2, 3_000_000),
    ]);
    let _consumer = env.consumer();
    env.wait_until_applied();
    let mut db = env.db();
    let amounts = db.text("SELECT order_uid, amount FROM payment ORDER BY 1");
    assert_eq!(amounts, "kept|7\nother|2");
    let positions = db.text("SELECT epoch, next_offset FROM log_positions");
    assert_eq!(positions, "2|2");
    assert_eq!(db.text("SELECT from_offset, to_offset FROM log_gaps"), "2|");
}

fn a_row_of_another_program_is_older_than_any_record(engines: &Engines) {
    let env = engines.ready();
    let items = ["('adopted', 5)"; 9].join(", ");
    env.db().run(&format!(
        "INSERT INTO orders (order_uid, track_number) VALUES ('adopted', 'old');
         INSERT INTO items (order_uid, chrt_id) VALUES {items}"
    ));
    let _consumer = env.consumer();
    env.produce(&[version("adopted", 2, 1)]);
    env.wait_until_applied();
    assert_eq!(env.db().text(AMOUNT), "2|3");
}

fn the_api_and_the_store_agree_on_the_last_of_many_concurrent_posts(engines: &Engines) {
    let env = engines.ready();
    let (api, _consumer) = (env.api(), env.consumer());
    std::thread::scope(|scope| {
        for client in 0..8_u32 {
            let api = &api;
            scope.spawn(move || {
                for number in 0..25 {
                    let body = order_version("contested", client * 100 + number + 1).to_string();
                    api.post(body).expect_status(202);
                }
            });
        }
    });
    env.wait_until_applied();
    let stored = env.db().text("SELECT amount FROM payment");
    let cached = api.get_order("contested").json();
    assert_eq!(cached["payment"]["amount"].to_string(), stored);
    let last = env.log().read_all(&env.topic()).pop().expect("a record");
    let offset = env.db().number("SELECT source_offset FROM orders");
    assert_eq!(offset, last.offset);
}
