//! `orders list`.

use serde_json::json;
use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order_version;

use support::Engines;

on_both_engines! {
    [
        the_orders_accepted_last_are_listed_first,
        a_list_can_be_of_a_customer_a_track_number_or_a_time,
        orders_of_other_programs_come_last,
    ]
}

/// The time of the order number `n`, in microseconds: one a second.
fn accepted_us(number: i64) -> i64 {
    // 2026-11-27T08:00:00Z
    1_795_766_400_000_000 + number * 1_000_000
}

fn of_customer(number: i64, customer: &str) -> RawRecord {
    let uid = format!("o-{number}");
    let mut order = order_version(&uid, 1);
    order["customer_id"] = customer.into();
    order["track_number"] = format!("track-{number}").into();
    let record = RawRecord::new(uid, order.to_string());
    record.header("accepted-at", accepted_us(number).to_string())
}

fn with_orders(engines: &Engines) -> support::Env {
    let env = engines.ready();
    let _consumer = env.consumer();
    let records: Vec<RawRecord> = (0..5)
        .map(|number| of_customer(number, ["anna", "ben"][number as usize % 2]))
        .collect();
    env.log().produce(&env.topic(), &records);
    env.wait_until_applied();
    env
}

fn the_orders_accepted_last_are_listed_first(engines: &Engines) {
    let env = with_orders(engines);
    let list = env.orders(&["list", "--latest", "2"]).run().succeeds();
    list.prints(
        "order  accepted at           customer  amount  items\n\
         o-4    2026-11-27T08:00:04Z  anna      1       2\n\
         o-3    2026-11-27T08:00:03Z  ben       1       2\n",
        "",
    );
    let uids = ["list", "--format", "uid"];
    let uids = env.orders(&uids).run().succeeds().stdout;
    assert_eq!(uids, "o-4\no-3\no-2\no-1\no-0\n");
    let documents = env.orders(&["list", "--latest", "1", "--output", "json"]);
    let expected = json!({"orders": [{
        "order_uid": "o-4", "track_number": "track-4", "customer_id": "anna",
        "delivery_service": "meest", "amount": 1, "currency": "USD", "items": 2,
        "date_created": "2021-11-26T06:22:19Z", "accepted_at": "2026-11-27T08:00:04Z",
    }]});
    assert_eq!(documents.run().succeeds().json(), expected);
    let lines = ["list", "--latest", "1", "--format", "ndjson"];
    let line = env.orders(&lines).run().succeeds().stdout;
    assert_eq!(line, format!("{}\n", expected["orders"][0]));
}

fn a_list_can_be_of_a_customer_a_track_number_or_a_time(engines: &Engines) {
    let env = with_orders(engines);
    let uids = |arguments: &[&str]| {
        let all = [&["list", "--format", "uid"], arguments].concat();
        env.orders(&all).run().succeeds().stdout
    };
    assert_eq!(uids(&["--customer", "ben"]), "o-3\no-1\n");
    assert_eq!(uids(&["--track", "track-2"]), "o-2\n");
    let (since, until) = ("2026-11-27T08:00:01Z", "2026-11-27T08:00:03Z");
    let between = ["--since", since, "--until", until];
    assert_eq!(uids(&between), "o-2\no-1\n");
    assert_eq!(uids(&["--customer", "nobody"]), "");
    let wrong = env.orders(&["list", "--since", "yesterday"]).run().exits(2);
    wrong.reports("`yesterday` is not a time such as 2026-11-27T10:00:00Z");
}

fn orders_of_other_programs_come_last(engines: &Engines) {
    let env = with_orders(engines);
    env.db()
        .run("INSERT INTO orders (order_uid) VALUES ('a\u{1b}[2J')");
    let wide = ["list", "--format", "wide"];
    let table = env.orders(&wide).run().succeeds().stdout;
    let last = table.lines().last().expect("there are orders");
    assert!(last.starts_with("a\\u{1b}[2J "), "{table}");
    let uids = ["list", "--since", "2026-01-01", "--format", "uid"];
    assert_eq!(env.orders(&uids).run().succeeds().stdout.lines().count(), 5);
}
