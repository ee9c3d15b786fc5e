//! What a POST accepted comes back exactly: from the cache, from the store through a lookup, from a
//! warm start, and in the columns of PostgreSQL.
//!
//! A run prints its seed; `ORDERS_TEST_SEED=<seed>` draws the same orders again.

use std::collections::HashMap;

use postgres::Row;
use serde_json::{Value, json};

use super::spelling::{Draw, Spelled};
use super::{Findings, World, get};
use crate::env::{Db, http};

const ORDERS: usize = 200;

#[test]
fn what_was_accepted_comes_back_exactly_from_cache_store_and_columns() {
    let seed = match std::env::var("ORDERS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("ORDERS_TEST_SEED is a number"),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    println!("ORDERS_TEST_SEED={seed}");
    let mut draw = Draw::new(seed);
    let orders: Vec<Spelled> = (0..ORDERS).map(|_| draw.order()).collect();
    let (mut world, mut findings) = (World::start(4), Findings::default());
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

/// Every order, compared as a value; gives the bodies.
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
    let rows = db.client().query(
        "SELECT o.*, d.*, p.*, (extract(epoch FROM date_created) * 1000000)::bigint AS micros
         FROM orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)",
        &[],
    );
    let rows = rows.expect("the orders can be read");
    let items = db.client().query("SELECT * FROM items ORDER BY id", &[]);
    let mut items_of: HashMap<String, Vec<Value>> = HashMap::new();
    for row in items.expect("the items can be read") {
        items_of
            .entry(row.get("order_uid"))
            .or_default()
            .push(item(&row));
    }
    let mut stored: HashMap<String, &Row> = HashMap::new();
    for row in &rows {
        stored.insert(row.get("order_uid"), row);
    }
    findings.equal(
        "the store",
        "the number of orders",
        rows.len(),
        orders.len(),
    );
    for spelled in orders {
        let Some(row) = stored.get(&spelled.uid) else {
            findings.holds(&spelled.uid, false, "it is not stored");
            continue;
        };
        let micros: i64 = row.get("micros");
        findings.equal(
            &spelled.uid,
            "the date in the store",
            micros,
            spelled.micros,
        );
        let mut found = columns(row);
        found["items"] = items_of.remove(&spelled.uid).unwrap_or_default().into();
        found["date_created"] = spelled.order["date_created"].clone();
        let place = format!("the columns of {}", spelled.uid);
        compare(&place, &found, &spelled.order, findings);
    }
}

/// The columns of one joined row in the shape of the JSON; the track number is the order's.
fn columns(row: &Row) -> Value {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let number = |name: &str| row.get::<_, Option<i64>>(name);
    json!({
        "order_uid": text("order_uid"), "track_number": text("track_number"),
        "entry": text("entry"), "locale": text("locale"),
        "internal_signature": text("internal_signature"), "customer_id": text("customer_id"),
        "delivery_service": text("delivery_service"), "shardkey": text("shardkey"),
        "sm_id": row.get::<_, Option<i32>>("sm_id"), "oof_shard": text("oof_shard"),
        "delivery": {
            "name": text("name"), "phone": text("phone"), "zip": text("zip"),
            "city": text("city"), "address": text("address"), "region": text("region"),
            "email": text("email")
        },
        "payment": {
            "transaction": text("transaction_id"), "request_id": text("request_id"),
            "currency": text("currency"), "provider": text("provider"),
            "amount": number("amount"), "payment_dt": number("payment_dt"), "bank": text("bank"),
            "delivery_cost": number("delivery_cost"), "goods_total": number("goods_total"),
            "custom_fee": number("custom_fee")
        }
    })
}

fn item(row: &Row) -> Value {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let number = |name: &str| row.get::<_, Option<i64>>(name);
    let small = |name: &str| row.get::<_, Option<i32>>(name);
    json!({
        "chrt_id": number("chrt_id"), "track_number": text("track_number"),
        "price": number("price"), "rid": text("rid"), "name": text("name"),
        "sale": small("sale"), "size": text("size"), "total_price": number("total_price"),
        "nm_id": number("nm_id"), "brand": text("brand"), "status": small("status")
    })
}
