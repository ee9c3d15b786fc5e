//! GET of an order that is not cached: known, unknown, slow, dead-lettered.

use std::time::{Duration, Instant};

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::{order, order_version};
use support::{Engines, TIMEOUT, eventually, http};

on_both_engines! {
    [
        an_unknown_uid_is_404,
        a_lookup_to_a_slow_consumer_is_answered_202,
        concurrent_requests_for_one_order_cause_one_lookup,
        a_dead_lettered_uid_is_404_with_the_place_of_its_record,
        an_order_written_by_another_program_is_answered_from_the_store,
        a_lookup_without_headers_is_answered,
        a_version_that_may_not_be_the_newest_is_marked,
    ]
}

fn an_unknown_uid_is_404(engines: &Engines) {
    let env = engines.ready();
    let api = env.api();
    let _consumer = env.consumer();

    let asked = Instant::now();
    let answer = api.get_order("nobody-knows-me");
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        asked.elapsed()
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

fn a_lookup_to_a_slow_consumer_is_answered_202(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.log().produce(
        &env.topic(),
        &[RawRecord::new("slow-1", order("slow-1").to_string())],
    );
    env.wait_until_applied();
    let api = env
        .serve_api()
        .env("CACHE_LOAD_LIMIT", "0")
        .env("LOOKUP_WAIT_MS", "300")
        .start();
    let url = format!("{}/api/order/slow-1", api.url());

    consumer.freeze();
    let queued = http::get(&url);
    assert_eq!(queued.status, 202, "{}", queued.text());
    assert_eq!(queued.json()["status"], "lookup_queued");
    assert!(
        queued.header("retry-after").is_some(),
        "{:?}",
        queued.headers
    );

    consumer.thaw();
    let found = eventually("the order after the thaw", TIMEOUT, || {
        let answer = http::get(&url);
        assert!(
            matches!(answer.status, 200 | 202),
            "{}: {}",
            answer.status,
            answer.text()
        );
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(found.json(), order("slow-1"));
}

fn concurrent_requests_for_one_order_cause_one_lookup(engines: &Engines) {
    let env = engines.ready();
    let consumer = env.consumer();
    env.log().produce(
        &env.topic(),
        &[RawRecord::new("wanted", order("wanted").to_string())],
    );
    env.wait_until_applied();
    let api = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    let url = format!("{}/api/order/wanted", api.url());

    // All of them ask while the answer cannot come.
    consumer.freeze();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| http::get(&url).status))
            .collect();
        eventually("the lookup in the topic", TIMEOUT, || {
            (!env.log().read_all(&env.lookup_topic()).is_empty()).then_some(())
        });
        consumer.thaw();
        let statuses: Vec<u16> = asking
            .into_iter()
            .map(|each| each.join().expect("an answer"))
            .collect();
        assert_eq!(statuses, [200; 20]);
    });
    // A lookup without a reply is repeated every 500 ms; twenty would be one per request.
    let lookups = env.log().read_all(&env.lookup_topic()).len();
    assert!(lookups <= 10, "20 requests caused {lookups} lookups");
}

fn a_dead_lettered_uid_is_404_with_the_place_of_its_record(engines: &Engines) {
    let env = engines.ready();
    let api = env.api();
    let _consumer = env.consumer();
    let mut broken = order("dead-1");
    broken["items"][0]["price"] = "much".into();
    env.log().produce(
        &env.topic(),
        &[RawRecord::new("dead-1", broken.to_string())],
    );
    env.wait_until_applied();

    let answer = api.get_order("dead-1");
    assert_eq!(answer.status, 404, "{}", answer.text());
    let said = answer.text();
    assert!(said.contains("dead-lettered"), "{said}");
    assert!(said.contains(&format!("{}/0/0", env.topic())), "{said}");
}

fn an_order_written_by_another_program_is_answered_from_the_store(engines: &Engines) {
    let env = engines.ready();
    env.db().run(
        "INSERT INTO orders (order_uid, track_number) VALUES ('bare', 'T');
         INSERT INTO items (order_uid, chrt_id) VALUES ('bare', 5)",
    );
    let api = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    let _consumer = env.consumer();

    let answer = api.get_order("bare");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let got = answer.json();
    assert_eq!(got["order_uid"], "bare");
    assert_eq!(got["entry"], "");
    assert_eq!(got["delivery"]["name"], "");
    assert_eq!(got["payment"]["amount"], 0);
    assert_eq!(got["items"][0]["chrt_id"], 5);
}

fn a_lookup_without_headers_is_answered(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    env.log().produce(
        &env.topic(),
        &[RawRecord::new(
            "plain",
            order_version("plain", 2).to_string(),
        )],
    );
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
    let of = |uid: &str| {
        answers
            .iter()
            .find(|answer| answer.key_text() == uid)
            .expect("an answer")
    };
    let order: serde_json::Value =
        serde_json::from_slice(of("plain").value.as_deref().expect("an order")).expect("JSON");
    assert_eq!(order, order_version("plain", 2));
    assert_eq!(of("none").value, None, "no such order");
}

fn a_version_that_may_not_be_the_newest_is_marked(engines: &Engines) {
    let env = engines.ready();
    let _consumer = env.consumer();
    let version = |number| RawRecord::new("aged", order_version("aged", number).to_string());
    env.log().produce(&env.topic(), &[version(1)]);
    env.wait_until_applied();
    // The consumer can read the store and not write: one record stays unapplied.
    let lock = env.db().lock_writers();
    env.log().produce(&env.topic(), &[version(2)]);
    let api = env.serve_api().env("CACHE_LOAD_LIMIT", "0").start();
    let url = format!("{}/api/order/aged", api.url());

    let old = http::get(&url);
    assert_eq!((old.status, old.json()), (200, order_version("aged", 1)));
    assert_eq!(old.header("order-behind"), Some("1"));

    drop(lock);
    let new = eventually("version 2", TIMEOUT, || {
        let answer = http::get(&url);
        let is_new = answer.json() == order_version("aged", 2);
        // Until then every answer with the old version admits it.
        assert!(is_new || answer.header("order-behind").is_some());
        is_new.then_some(answer)
    });
    assert_eq!(new.header("order-behind"), None);
}
