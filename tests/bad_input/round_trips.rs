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

use super::spelling::{Draw, Spelled};
use super::{Findings, World, get};

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
    let (mut world, mut findings) = (World::start(*engines, 4), Findings::default());
    let mut connection = world.connect();
    for spelled in &orders {
        let answer = connection
            .post("/orders", spelled.document.as_bytes())
            .expect("it answers");
        let is_accepted = answer.status == 202;
        findings.holds(
            &spelled.uid,
            is_accepted,
            format!("{}\n{}", answer.text(), spelled.document),
        );
    }
    let hot = get_all(&mut connection, &orders, &mut findings);
    world.env.wait_until_applied();
    findings.equal(
        "the store",
        "the number of dead letters",
        world.env.db().count("dead_letters"),
        0,
    );
    compare_columns(&mut world.env.db(), &orders, &mut findings);
    drop(connection);

    assert_eq!(world.api.stop().code(), Some(0));
    let limit = (2 * ORDERS).to_string();
    for (way, limit) in [("a lookup", "0"), ("a warm start", limit.as_str())] {
        world.api = world.env.serve_api().env("CACHE_LOAD_LIMIT", limit).start();
        let mut connection = world.connect();
        let cold = get_all(&mut connection, &orders, &mut findings);
        for (uid, body) in &hot {
            findings.holds(
                uid,
                cold.get(uid) == Some(body),
                format!("{way} gives other bytes than the cache"),
            );
        }
        drop(connection);
        assert_eq!(world.api.stop().code(), Some(0));
    }
    findings.report();
    world.api = world.env.api();
    world.still_works();
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
        findings.equal(&spelled.uid, "the status", answer.status, 200);
        if answer.status == 200 {
            compare(&spelled.uid, &answer.json(), &spelled.order, findings);
            bodies.insert(spelled.uid.as_str(), answer.body);
        }
    }
    bodies
}

/// Names the fields that differ, down to the texts and numbers.
fn compare(place: &str, found: &Value, expected: &Value, findings: &mut Findings) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            findings.equal(place, "the number of fields", found.len(), expected.len());
            for (name, value) in expected {
                let place = format!("{place}/{name}");
                compare(
                    &place,
                    found.get(name).unwrap_or(&Value::Null),
                    value,
                    findings,
                );
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            findings.equal(place, "the number of items", found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(&format!("{place}/{index}"), found, expected, findings);
            }
        }
        (found, expected) => findings.equal(place, "the value", found, expected),
    }
}

fn compare_columns(db: &mut Db, orders: &[Spelled], findings: &mut Findings) {
    let mut items_of: HashMap<String, Vec<Value>> = HashMap::new();
    for mut row in db.json(ITEM, "items ORDER BY id") {
        let uid = row["order_uid"].take();
        row.as_object_mut().expect("a row").remove("order_uid");
        let uid = uid.as_str().expect("items belong to an order");
        items_of.entry(uid.to_owned()).or_default().push(row);
    }
    let members = format!("{ORDER}, 'date_created', {}", db.timestamp("date_created"));
    let from = "orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)";
    let mut stored: HashMap<String, Value> = HashMap::new();
    for row in db.json(&members, from) {
        let uid = row["order_uid"].as_str().expect("an order has a uid");
        stored.insert(uid.to_owned(), row);
    }
    findings.equal(
        "the store",
        "the number of orders",
        stored.len(),
        orders.len(),
    );
    for spelled in orders {
        let Some(mut found) = stored.remove(&spelled.uid) else {
            findings.holds(&spelled.uid, false, "it is not stored");
            continue;
        };
        let date = found["date_created"].as_str().expect("a date").to_owned();
        findings.equal(
            &spelled.uid,
            "the date in the store",
            date,
            moment(spelled.micros),
        );
        found["items"] = items_of.remove(&spelled.uid).unwrap_or_default().into();
        found["date_created"] = spelled.order["date_created"].clone();
        let place = format!("the columns of {}", spelled.uid);
        compare(&place, &found, &spelled.order, findings);
    }
}

/// The date as every store shows it.
fn moment(micros: i64) -> String {
    let moment = date(1970, 1, 1).at(0, 0, 0, 0) + SignedDuration::from_micros(micros);
    moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// One joined row in the shape of the JSON; the track number is the order's.
const ORDER: &str = "
    'order_uid', order_uid, 'track_number', track_number, 'entry', entry, 'locale', locale,
    'internal_signature', internal_signature, 'customer_id', customer_id,
    'delivery_service', delivery_service, 'shardkey', shardkey, 'sm_id', sm_id,
    'oof_shard', oof_shard,
    'delivery', OBJECT(
        'name', name, 'phone', phone, 'zip', zip, 'city', city, 'address', address,
        'region', region, 'email', email),
    'payment', OBJECT(
        'transaction', transaction_id, 'request_id', request_id, 'currency', currency,
        'provider', provider, 'amount', amount, 'payment_dt', payment_dt, 'bank', bank,
        'delivery_cost', delivery_cost, 'goods_total', goods_total, 'custom_fee', custom_fee)";

const ITEM: &str = "
    'order_uid', order_uid, 'chrt_id', chrt_id, 'track_number', track_number, 'price', price,
    'rid', rid, 'name', name, 'sale', sale, 'size', size, 'total_price', total_price,
    'nm_id', nm_id, 'brand', brand, 'status', status";
