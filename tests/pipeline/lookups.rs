//! GET of an order that is not cached: known, unknown, slow, dead-lettered.

use std::time::Duration;

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually, http, returns_within, wait_until};

on_both_engines! {
    [
        an_unknown_uid_is_404,
        a_lookup_to_a_slow_consumer_is_answered_202,
        concurrent_requests_for_one_order_cause_one_lookup,
        a_dead_letter_is_404_with_position_and_reason_by_its_uid_or_its_key,
        an_order_written_by_another_program_is_answered_from_the_store,
        a_lookup_without_headers_is_answered,
        a_version_that_may_not_be_the_newest_is_marked,
    ]
}

fn an_unknown_uid_is_404(engines: &Engines) {
    let env = engines.ready();
    let api = env.api();
    let _consumer = env.consumer();

    let answer = returns_within(Duration::from_secs(1), || api.get_order("absent"));
    let answer = answer.expect_status(404);
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/problem+json"));
}

fn a_lookup_to_a_slow_consumer_is_answered_202(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.produce(&[RawRecord::order("slow-1")]);
    env.wait_until_applied();
    let api = env
        .serve_api()
        .without_warm_up()
        .env("LOOKUP_WAIT_MS", "300")
        .start();
    let url = format!("{}/api/order/slow-1", api.url());

    consumer.freeze();
    let queued = http::get(&url).expect_status(202);
    assert_eq!(queued.json()["status"], "lookup_queued");
    assert!(queued.header("retry-after").is_some(), "{queued:?}");

    consumer.thaw();
    let found = eventually("the order after the thaw", TIMEOUT, || {
        let answer = http::get(&url);
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(found.json(), order("slow-1"));
}

fn concurrent_requests_for_one_order_cause_one_lookup(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.produce(&[RawRecord::order("wanted")]);
    env.wait_until_applied();
    let api = env.serve_api().without_warm_up().start();
    let url = format!("{}/api/order/wanted", api.url());

    // All requests are sent while the consumer cannot reply.
    consumer.freeze();
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| http::get(&url).status))
            .collect();
        wait_until("the lookup in the topic", TIMEOUT, || {
            !env.log().read_all(&env.lookup_topic()).is_empty()
        });
        consumer.thaw();
        for request in requests {
            assert_eq!(request.join().expect("an answer"), 200);
        }
    });
    // A lookup without a reply is repeated every 500 ms; twenty would be one per request.
    let lookups = env.log().read_all(&env.lookup_topic()).len();
    assert!(lookups <= 10, "20 requests caused {lookups} lookups");
}

fn a_dead_letter_is_404_with_position_and_reason_by_its_uid_or_its_key(engines: &Engines) {
    let env = engines.ready();
    let api = env.api();
    let _consumer = env.consumer();
    let mut invalid = order("dead-1");
    invalid["items"][0]["price"] = "much".into();
    env.produce(&[
        RawRecord::new("other", invalid.to_string()),
        // A truncated document has no uid.
        RawRecord::new("dead-2", r#"{"order_uid":"dead-2","#),
    ]);
    env.wait_until_applied();

    let topic = env.topic();
    let refused = |offset: u32, why: &str| {
        format!(
            "the record at {topic}/0/{offset} has this uid and could not become an order: {why}"
        )
    };
    let price = refused(
        0,
        "not a valid order: /items/0/price must be a whole number between \
         -9223372036854775808 and 9223372036854775807",
    );
    let truncated = refused(
        1,
        "not one JSON document: the document cannot be read: EOF while parsing a value at line 1 \
         column 22",
    );
    for (uid, detail) in [
        ("dead-1", &price),
        ("other", &price),
        ("dead-2", &truncated),
    ] {
        let answer = api.get_order(uid).expect_status(404).json();
        assert_eq!(
            [&answer["type"], &answer["detail"]],
            ["dead-lettered", detail]
        );
    }
    let get = env.orders(&["get", "dead-2", "--api-url", &api.url()]);
    let error = format!("error: order `dead-2` was not found: {truncated}\n");
    get.run().exits(3).prints("", &error);
}

fn an_order_written_by_another_program_is_answered_from_the_store(engines: &Engines) {
    let env = engines.ready();
    env.db().run(
        "INSERT INTO orders (order_uid, track_number) VALUES ('bare', 'T');
         INSERT INTO items (order_uid, chrt_id) VALUES ('bare', 5)",
    );
    let api = env.serve_api().without_warm_up().start();
    let _consumer = env.consumer();

    let answer = api.get_order("bare").expect_status(200);
    let order = answer.json();
    assert_eq!(order["order_uid"], "bare");
    assert_eq!(order["entry"], "");
    assert_eq!(order["delivery"]["name"], "");
    assert_eq!(order["payment"]["amount"], 0);
    assert_eq!(order["items"][0]["chrt_id"], 5);
}

fn a_lookup_without_headers_is_answered(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.produce(&[RawRecord::version("plain", 2)]);
    env.wait_until_applied();

    env.log().produce(
        &env.lookup_topic(),
        &[
            RawRecord::new("plain", "plain"),
            RawRecord::new("none", "none"),
        ],
    );
    let answers = eventually("two answers", TIMEOUT, || {
        Some(env.log().read_all(&env.found_topic())).filter(|answers| answers.len() == 2)
    });
    let value_of = |uid: &str| {
        let answer = answers.iter().find(|answer| answer.key_text() == uid);
        answer.expect("an answer").value.clone()
    };
    let order = value_of("plain").expect("an order");
    let order: serde_json::Value = serde_json::from_slice(&order).expect("JSON");
    assert_eq!(order, order_version("plain", 2));
    assert_eq!(value_of("none"), None, "no such order");
}

fn a_version_that_may_not_be_the_newest_is_marked(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let version = |number| RawRecord::version("aged", number);
    env.produce(&[version(1)]);
    env.wait_until_applied();
    // The consumer can read the store and not write: one record stays unapplied.
    let lock = env.db().lock_writers();
    env.produce(&[version(2)]);
    let api = env.serve_api().without_warm_up().start();
    let url = format!("{}/api/order/aged", api.url());

    let old = http::get(&url);
    assert_eq!((old.status, old.json()), (200, order_version("aged", 1)));
    assert_eq!(old.header("order-behind"), Some("1"));

    drop(lock);
    let new = eventually("version 2", TIMEOUT, || {
        let answer = http::get(&url);
        let is_new = answer.json() == order_version("aged", 2);
        // Until then every answer with the old version is marked.
        assert!(is_new || answer.header("order-behind").is_some());
        is_new.then_some(answer)
    });
    assert_eq!(new.header("order-behind"), None);
}
