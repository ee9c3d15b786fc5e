//! Records that can never be orders, among good ones: nothing stops, nothing is lost.

use crate::env::auditor::audit_offsets;
use crate::env::kafka::Outgoing;
use crate::env::orders::order;
use crate::env::{Env, http};

/// Payloads that must become dead letters, `None` a null one.
fn broken() -> Vec<Option<Vec<u8>>> {
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut order = order("broken");
        change(&mut order);
        Some(order.to_string().into_bytes())
    };
    vec![
        None,
        Some(Vec::new()),
        Some(b"{\"order_uid\": \"cut".to_vec()),
        Some(b"not json at all".to_vec()),
        Some(b"[1, 2, 3]".to_vec()),
        Some(b"{\"order_uid\": \"\xff\xfe\"}".to_vec()),
        Some([b"[".repeat(10_000), b"]".repeat(10_000)].concat()),
        changed(|order| order["order_uid"] = "".into()),
        changed(|order| order["order_uid"] = "a/b".into()),
        changed(|order| order["locale"] = "\u{0}".into()),
        changed(|order| order["sm_id"] = 4_000_000_000_u64.into()),
        changed(|order| order["payment"]["amount"] = "12".into()),
        changed(|order| order["date_created"] = "2021-02-30T00:00:00Z".into()),
        changed(|order| order["customer_id"] = "x".repeat(5000).into()),
    ]
}

#[test]
fn broken_records_become_dead_letters_and_the_good_ones_around_them_are_stored() {
    let env = Env::with_partitions(2);
    let mut consumer = env.consumer();
    let mut records = Vec::new();
    for (number, payload) in broken().into_iter().enumerate() {
        let uid = format!("good-{number}");
        records.push(Outgoing::new(uid.as_str(), order(&uid).to_string()));
        records.push(Outgoing {
            key: Some(b"broken".to_vec()),
            value: payload,
            ..Outgoing::default()
        });
    }
    records.push(Outgoing::new("last", order("last").to_string()));
    let places = env.kafka().produce(&env.topic(), &records);
    env.wait_until_applied();

    let (mut db, bad) = (env.db(), broken());
    assert_eq!(
        db.count("orders"),
        i64::try_from(bad.len() + 1).expect("few")
    );
    assert_eq!(
        db.count("dead_letters"),
        i64::try_from(bad.len()).expect("few")
    );
    assert_eq!(db.count("log_gaps"), 0);
    let mut bytes: Vec<Option<Vec<u8>>> = db
        .client
        .query("SELECT payload FROM dead_letters ORDER BY \"offset\"", &[])
        .expect("the dead letters can be read")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut expected = bad.clone();
    bytes.sort();
    expected.sort();
    assert!(
        bytes == expected,
        "the dead letters hold the very bytes that came"
    );
    assert_eq!(
        db.number("SELECT count(*) FROM dead_letters WHERE length(reason) < 10"),
        0
    );
    assert_eq!(
        db.text("SELECT DISTINCT topic FROM dead_letters"),
        env.topic()
    );
    assert_eq!(places.len(), records.len());
    audit_offsets(&env);
    assert!(consumer.is_running());
}

#[test]
fn a_restart_after_broken_records_reads_none_of_them_again() {
    let env = Env::ready();
    let mut consumer = env.consumer();
    let broken = Outgoing::new("x", "not an order");
    env.kafka().produce(
        &env.topic(),
        &[
            broken.clone(),
            Outgoing::new("fine", order("fine").to_string()),
            broken,
        ],
    );
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    let _consumer = env.consumer();
    env.kafka().produce(
        &env.topic(),
        &[Outgoing::new("next", order("next").to_string())],
    );
    env.wait_until_applied();
    assert_eq!(
        env.db()
            .text("SELECT \"offset\" FROM dead_letters ORDER BY 1"),
        "0\n2"
    );
    assert_eq!(env.db().count("orders"), 2);
}

#[test]
fn a_key_that_is_not_the_uid_is_no_reason_to_refuse_an_order() {
    let env = Env::ready();
    let _consumer = env.consumer();
    let keyless = Outgoing {
        key: None,
        ..Outgoing::new("", order("keyless").to_string())
    };
    let strange = Outgoing::new("another", order("strange").to_string());
    env.kafka().produce(&env.topic(), &[keyless, strange]);
    env.wait_until_applied();
    assert_eq!(
        env.db().text("SELECT order_uid FROM orders ORDER BY 1"),
        "keyless\nstrange"
    );
}

#[test]
fn the_api_refuses_what_the_topic_would_dead_letter_and_names_every_fault() {
    let env = Env::ready();
    let api = env.api();
    let mut order = order("two faults");
    order["payment"]["amount"] = "12".into();
    order["date_created"] = "yesterday".into();
    let answer = http::post(&format!("{}/orders", api.url()), order.to_string());
    assert_eq!(answer.status, 422, "{}", answer.text());
    let said = answer.text();
    for pointer in ["/order_uid", "/payment/amount", "/date_created"] {
        assert!(said.contains(pointer), "{pointer} is not named in {said}");
    }
    assert_eq!(env.kafka().ends(&env.topic()), [0]);
}
