//! An accepted order comes back unchanged: from the cache, from the store through a lookup, after a warm
//! start, and in the columns of the store.
//!
//! A run prints its seed; `ORDERS_TEST_SEED=<seed>` generates the same orders again.

use std::collections::HashMap;

use jiff::SignedDuration;
use jiff::civil::date;
use serde_json::Value;
use support::on_both_engines;
use support::{Db, Engines, http};

use super::fields::{
    DELIVERY, ITEM_NUMBERS, ITEM_SMALL_NUMBERS, ITEM_TEXTS, ORDER_TEXTS, PAYMENT_NUMBERS,
    PAYMENT_TEXTS,
};
use super::spelling::{Draw, Spelled};
use super::{Findings, Pipeline, get};

on_both_engines! {
    [
        an_accepted_order_is_the_same_in_cache_store_and_columns,
    ]
}

const ORDERS: usize = 200;

fn an_accepted_order_is_the_same_in_cache_store_and_columns(engines: &Engines) {
    let seed = match std::env::var("ORDERS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("ORDERS_TEST_SEED is a number"),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    println!("ORDERS_TEST_SEED={seed}");
    let mut draw = Draw::new(seed);
    let orders: Vec<Spelled> = (0..ORDERS).map(|_| draw.order()).collect();
    let (mut pipeline, mut findings) = (Pipeline::start(*engines, 4), Findings::default());
    let mut connection = pipeline.connect();
    for spelled in &orders {
        let answer = connection.post("/orders", spelled.document.as_bytes());
        let answer = answer.expect("an answer");
        let otherwise = format!("{}\n{}", answer.text(), spelled.document);
        let mut checks = findings.of(&spelled.uid);
        checks.holds(answer.status == 202, otherwise);
    }
    let hot = get_all(&mut connection, &orders, &mut findings);
    pipeline.env.wait_until_applied();
    let dead_letters = pipeline.env.db().count("dead_letters");
    findings
        .of("the store")
        .equal("the number of dead letters", dead_letters, 0);
    compare_columns(&mut pipeline.env.db(), &orders, &mut findings);
    drop(connection);

    assert_eq!(pipeline.api.stop().code(), Some(0));
    let limit = (2 * ORDERS).to_string();
    for (path, limit) in [("a lookup", "0"), ("a warm start", limit.as_str())] {
        pipeline.api = pipeline
            .env
            .serve_api()
            .env("CACHE_LOAD_LIMIT", limit)
            .start();
        let mut connection = pipeline.connect();
        let cold = get_all(&mut connection, &orders, &mut findings);
        for (uid, body) in &hot {
            let is_same = cold.get(uid) == Some(body);
            let otherwise = format!("{path} returns other bytes than the cache");
            findings.of(uid).holds(is_same, otherwise);
        }
        drop(connection);
        assert_eq!(pipeline.api.stop().code(), Some(0));
    }
    findings.report();
    pipeline.api = pipeline.env.api();
    pipeline.assert_works();
}

/// Compares every order as a value; returns the bodies.
fn get_all<'o>(
    connection: &mut http::Connection,
    orders: &'o [Spelled],
    findings: &mut Findings,
) -> HashMap<&'o str, Vec<u8>> {
    let mut bodies = HashMap::new();
    for spelled in orders {
        let answer = get(connection, &spelled.uid);
        let mut checks = findings.of(&spelled.uid);
        checks.equal("the status", answer.status, 200);
        if answer.status == 200 {
            compare(&spelled.uid, &answer.json(), &spelled.order, findings);
            bodies.insert(spelled.uid.as_str(), answer.body);
        }
    }
    bodies
}

/// Names the fields that differ, down to the texts and numbers.
fn compare(path: &str, found: &Value, expected: &Value, findings: &mut Findings) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let mut checks = findings.of(path);
            checks.equal("the number of fields", found.len(), expected.len());
            for (name, value) in expected {
                let found = found.get(name).unwrap_or(&Value::Null);
                compare(&format!("{path}/{name}"), found, value, findings);
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            let mut checks = findings.of(path);
            checks.equal("the number of items", found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(&format!("{path}/{index}"), found, expected, findings);
            }
        }
        (found, expected) => findings.of(path).equal("the value", found, expected),
    }
}

fn compare_columns(db: &mut Db, orders: &[Spelled], findings: &mut Findings) {
    let mut items_of: HashMap<String, Vec<Value>> = HashMap::new();
    for mut row in db.json(&item_members(), "items ORDER BY id") {
        let uid = row["order_uid"].take();
        row.as_object_mut().expect("a row").remove("order_uid");
        let uid = uid.as_str().expect("items belong to an order");
        items_of.entry(uid.to_owned()).or_default().push(row);
    }
    let date = db.timestamp("date_created");
    let members = format!("{}, 'date_created', {date}", order_members());
    let from = "orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)";
    let mut stored: HashMap<String, Value> = HashMap::new();
    for row in db.json(&members, from) {
        let uid = row["order_uid"].as_str().expect("an order has a uid");
        stored.insert(uid.to_owned(), row);
    }
    let mut checks = findings.of("the store");
    checks.equal("the number of orders", stored.len(), orders.len());
    for spelled in orders {
        let Some(mut found) = stored.remove(&spelled.uid) else {
            findings.of(&spelled.uid).holds(false, "it is not stored");
            continue;
        };
        let date = found["date_created"].as_str().expect("a date").to_owned();
        let mut checks = findings.of(&spelled.uid);
        checks.equal("the date in the store", date, time(spelled.micros));
        found["items"] = items_of.remove(&spelled.uid).unwrap_or_default().into();
        found["date_created"] = spelled.order["date_created"].clone();
        let path = format!("the columns of {}", spelled.uid);
        compare(&path, &found, &spelled.order, findings);
    }
}

/// The date as every store shows it.
fn time(micros: i64) -> String {
    let time = date(1970, 1, 1).at(0, 0, 0, 0) + SignedDuration::from_micros(micros);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The members of the joined row in the shape of the JSON; the track number is the order's.
fn order_members() -> String {
    let payment = members(&[&PAYMENT_TEXTS[1..], &PAYMENT_NUMBERS].concat());
    format!(
        "'order_uid', order_uid, 'sm_id', sm_id, {}, 'delivery', OBJECT({}),
         'payment', OBJECT('transaction', transaction_id, {payment})",
        members(&ORDER_TEXTS),
        members(&DELIVERY)
    )
}

fn item_members() -> String {
    let numbers = [&ITEM_NUMBERS[..], &ITEM_SMALL_NUMBERS].concat();
    let fields = [&["order_uid"], &ITEM_TEXTS[..], &numbers].concat();
    members(&fields)
}

/// Fields whose columns have their names.
fn members(fields: &[&str]) -> String {
    let each: Vec<String> = fields
        .iter()
        .map(|name| format!("'{name}', {name}"))
        .collect();
    each.join(", ")
}
