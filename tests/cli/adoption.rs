//! A database of go-orders: adopted with its rows, served, and still writable by its programs.

use std::process::Command;

use serde_json::{Value, json};
use support::orders::{order, order_version};
use support::{Db, Env, required_variable};

/// The schema as go-orders makes it.
const GO_ORDERS: &str = include_str!("../../migrations/001_init.sql");

/// A whole order, one of nothing but NULLs, and one without its delivery and payment rows.
const ITS_ROWS: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
                        delivery_service, shardkey, sm_id, date_created, oof_shard)
    VALUES ('whole', 'TRACK-1', 'WBIL', 'en', '', 'test', 'meest', '9', 99,
            '2021-11-26T06:22:19Z', '1'),
           ('alone', 'TRACK-7', 'WBIL', 'en', '', 'test', 'meest', '9', 99,
            '2021-11-26T06:22:19.5+03:00', '1');
    INSERT INTO orders (order_uid) VALUES ('nulls');
    INSERT INTO delivery VALUES ('whole', 'Test Testov 1', '+9720000000', '2639809',
                                 'Kiryat Mozkin', 'Ploshad Mira 15', 'Kraiot', 'test@gmail.com');
    INSERT INTO delivery (order_uid) VALUES ('nulls');
    INSERT INTO payment VALUES ('whole', 'whole', '', 'USD', 'wbpay', 1, 1637907727, 'alpha',
                                1500, 317, 0);
    INSERT INTO payment (order_uid) VALUES ('nulls');
    INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price,
                       nm_id, brand, status)
    VALUES ('whole', 9934930, 'TRACK-1', 453, 'whole-1-0', 'Mascaras', 30, '0', 317, 2389212,
            'Vivienne Sabo', 202),
           ('whole', 9934931, 'TRACK-1', 453, 'whole-1-1', 'Mascaras', 30, '0', 317, 2389212,
            'Vivienne Sabo', 202);
    INSERT INTO items (order_uid) VALUES ('nulls');";

/// Saves version 2 of an order as go-orders' consumer does: it names its own columns only.
const ITS_WRITE: &str = "
    BEGIN;
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
                        delivery_service, shardkey, sm_id, date_created, oof_shard)
    VALUES ('UID', 'TRACK-2', 'WBIL', 'en', '', 'test', 'meest', '9', 99, '2021-11-26T06:22:19Z', '1')
    ON CONFLICT (order_uid) DO UPDATE SET track_number = EXCLUDED.track_number,
        entry = EXCLUDED.entry, date_created = EXCLUDED.date_created;
    INSERT INTO delivery (order_uid, name, phone, zip, city, address, region, email)
    VALUES ('UID', 'Test Testov 2', '+9720000000', '2639809', 'Kiryat Mozkin', 'Ploshad Mira 15',
            'Kraiot', 'test@gmail.com')
    ON CONFLICT (order_uid) DO UPDATE SET name = EXCLUDED.name;
    INSERT INTO payment (order_uid, transaction_id, request_id, currency, provider, amount,
                         payment_dt, bank, delivery_cost, goods_total, custom_fee)
    VALUES ('UID', 'UID', '', 'USD', 'wbpay', 2, 1637907727, 'alpha', 1500, 317, 0)
    ON CONFLICT (order_uid) DO UPDATE SET amount = EXCLUDED.amount;
    DELETE FROM items WHERE order_uid = 'UID';
    INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price,
                       nm_id, brand, status)
    SELECT 'UID', 9934930 + n, 'TRACK-2', 453, 'UID-2-' || n, 'Mascaras', 30, '0', 317, 2389212,
           'Vivienne Sabo', 202 FROM generate_series(0, 2) n;
    COMMIT";

/// The columns of go-orders.
fn its_rows(db: &mut Db) -> String {
    db.text(
        "SELECT order_uid, track_number, entry, locale, internal_signature, customer_id,
                delivery_service, shardkey, sm_id, date_created, oof_shard, created_at
         FROM orders ORDER BY 1;
         SELECT * FROM delivery ORDER BY 1;
         SELECT * FROM payment ORDER BY 1;
         SELECT * FROM items ORDER BY id",
    )
}

fn save_as_go_orders_does(db: &mut Db, uid: &str) {
    db.run(&ITS_WRITE.replace("UID", uid));
}

#[test]
fn a_database_of_go_orders_is_adopted_with_its_rows() {
    let env = Env::empty();
    let mut db = env.db();
    db.run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let before = its_rows(&mut db);

    let ran = env.orders(&["migrate"]).run().succeeds();
    let report = "adopting the existing tables with their rows\n\
                  applying 001_init.sql\napplying 002_exactly_once.sql\n\
                  applying 003_operations.sql\napplying 004_operator_indexes.sql\n";
    assert_eq!(ran.stderr, report);
    assert_eq!(its_rows(&mut db), before);
}

#[test]
fn the_consumer_of_go_orders_can_write_after_the_migration() {
    let env = Env::ready();
    let mut db = env.db();
    db.run(ITS_ROWS);
    for uid in ["whole", "nulls", "new"] {
        save_as_go_orders_does(&mut db, uid);
        save_as_go_orders_does(&mut db, uid);
        let stored = db.text(&format!(
            "SELECT track_number, name, amount, (SELECT count(*) FROM items WHERE order_uid = '{uid}')
             FROM orders JOIN delivery USING (order_uid) JOIN payment USING (order_uid)
             WHERE order_uid = '{uid}'"
        ));
        assert_eq!(stored, "TRACK-2|Test Testov 2|2|3");
    }
}

#[test]
fn adopted_rows_with_nulls_or_missing_parts_are_served() {
    let env = Env::empty();
    env.db().run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let env = env.prepared(1);
    save_as_go_orders_does(&mut env.db(), "written-later");
    let (api, _consumer) = (env.api(), env.consumer());
    let get = |uid: &str| {
        let answer = api.get_order(uid);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    assert_eq!(get("whole"), order("whole"));
    assert_eq!(get("written-later"), order_version("written-later", 2));
    assert_eq!(get("nulls"), nothing_but("nulls", json!([empty_item()])));
    let alone = get("alone");
    assert_eq!(alone["delivery"], nothing_but("", json!([]))["delivery"]);
    assert_eq!(alone["payment"], nothing_but("", json!([]))["payment"]);
    assert_eq!(alone["items"], json!([]));
    assert_eq!(alone["date_created"], "2021-11-26T03:22:19.5Z");
}

#[test]
fn a_record_of_the_log_is_newer_than_an_adopted_row_and_replaces_it_whole() {
    let env = Env::empty();
    env.db().run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let env = env.prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    for uid in ["whole", "nulls", "alone"] {
        let body = order_version(uid, 5).to_string();
        assert_eq!(api.post(body).status, 202);
    }
    env.wait_until_applied();
    let stored = env.db().text(
        "SELECT order_uid, o.track_number, d.name, p.amount, count(i.id), count(i.rid)
         FROM orders o JOIN delivery d USING (order_uid) JOIN payment p USING (order_uid)
         JOIN items i USING (order_uid) GROUP BY 1, 2, 3, 4 ORDER BY 1",
    );
    let row = |uid: &str| format!("{uid}|TRACK-5|Test Testov 5|5|3|3");
    assert_eq!(stored, ["alone", "nulls", "whole"].map(row).join("\n"));
}

#[test]
fn the_first_migration_also_runs_with_plain_psql() {
    let env = Env::empty();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/001_init.sql");
    let psql = Command::new(format!("{}/psql", required_variable("ORDERS_TEST_PG_BIN")))
        .args([&env.db_url, "-q", "-v", "ON_ERROR_STOP=1", "-f", file])
        .output()
        .expect("psql can be started");
    assert!(psql.status.success(), "{psql:?}");
    let ran = env.orders(&["migrate"]).run().succeeds();
    ran.reports("adopting the existing tables");
}

fn nothing_but(uid: &str, items: Value) -> Value {
    json!({
        "order_uid": uid, "track_number": "", "entry": "",
        "delivery": {
            "name": "", "phone": "", "zip": "", "city": "", "address": "", "region": "", "email": ""
        },
        "payment": {
            "transaction": "", "request_id": "", "currency": "", "provider": "", "amount": 0,
            "payment_dt": 0, "bank": "", "delivery_cost": 0, "goods_total": 0, "custom_fee": 0
        },
        "items": items, "locale": "", "internal_signature": "", "customer_id": "",
        "delivery_service": "", "shardkey": "", "sm_id": 0, "date_created": "", "oof_shard": ""
    })
}

fn empty_item() -> Value {
    json!({
        "chrt_id": 0, "track_number": "", "price": 0, "rid": "", "name": "", "sale": 0, "size": "",
        "total_price": 0, "nm_id": 0, "brand": "", "status": 0
    })
}
