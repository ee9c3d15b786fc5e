//! `orders migrate`: tables made, adopted, planned, locked and refused.

use std::process::Command;

use serde_json::{Value, json};

use crate::env::orders::{order, order_version};
use crate::env::{Db, Env, PATIENCE, Process, eventually, given, http};

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

const FILES: [&str; 2] = ["001_init.sql", "002_exactly_once.sql"];

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

/// The table of migrations, all in one state and without the time they were applied at.
fn table(state: &str) -> String {
    let [first, second] = FILES;
    let width = second.len();
    format!("{:width$}  state    applied at\n{first:width$}  {state}\n{second}  {state}\n", "migration")
}

/// The same text with the times taken off.
fn without_times(table: &str) -> String {
    let untimed = |line: &str| {
        let end = line.find("  20").unwrap_or(line.len());
        format!("{}\n", &line[..end])
    };
    table.lines().map(untimed).collect()
}

/// All that go-orders knows of its rows.
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
fn an_empty_database_gets_its_tables_and_a_second_run_has_nothing_to_do() {
    let env = Env::new();
    let first = env.orders(&["migrate"]).run().succeeds();
    assert_eq!(without_times(&first.stdout), table("applied"));
    assert_eq!(first.stderr, "applying 001_init.sql\napplying 002_exactly_once.sql\n");
    let second = env.orders(&["migrate"]).run().succeeds();
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(second.stderr, "nothing to apply\n");
}

#[test]
fn a_database_of_go_orders_is_adopted_with_its_rows() {
    let env = Env::new();
    let mut db = env.db();
    db.run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let before = its_rows(&mut db);

    let ran = env.orders(&["migrate"]).run().succeeds();
    let said = "adopting the tables that are already there, with their rows\n\
                applying 001_init.sql\napplying 002_exactly_once.sql\n";
    assert_eq!(ran.stderr, said);
    assert_eq!(its_rows(&mut db), before);
}

#[test]
fn go_orders_own_consumer_goes_on_writing_after_the_migration() {
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
fn adopted_rows_with_nulls_or_missing_parts_are_read_through_the_whole_pipeline() {
    let env = Env::new();
    env.db().run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let env = env.prepared(1);
    save_as_go_orders_does(&mut env.db(), "written-later");
    let (api, _consumer) = (env.api(), env.consumer());
    let get = |uid: &str| {
        let answer = http::get(&format!("{}/api/order/{uid}", api.url()));
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
    let env = Env::new();
    env.db().run(&format!("{GO_ORDERS}{ITS_ROWS}"));
    let env = env.prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    for uid in ["whole", "nulls", "alone"] {
        let body = order_version(uid, 5).to_string();
        assert_eq!(http::post(&format!("{}/orders", api.url()), body).status, 202);
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
fn the_first_file_also_runs_with_plain_psql() {
    let env = Env::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/001_init.sql");
    let psql = Command::new(format!("{}/psql", given("ORDERS_TEST_PG_BIN")))
        .args([&env.db_url, "-q", "-v", "ON_ERROR_STOP=1", "-f", file])
        .output()
        .expect("psql can be started");
    assert!(psql.status.success(), "{psql:?}");
    let ran = env.orders(&["migrate"]).run().succeeds();
    assert!(ran.stderr.starts_with("adopting the tables"), "{}", ran.stderr);
}

#[test]
fn two_runs_at_once_both_succeed_and_apply_everything_once() {
    let env = Env::new();
    let runs: Vec<_> = std::thread::scope(|scope| {
        let run = || env.orders(&["migrate", "--output", "json"]).run().succeeds();
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().expect("both runs end")).into()
    });
    let mut applied = Vec::new();
    for run in &runs {
        assert_eq!(run.json()["pending"], 0);
        let names = run.json()["applied_now"].as_array().expect("a list").clone();
        applied.extend(names);
    }
    assert_eq!(applied, FILES);
    let versions = env.db().text("SELECT version FROM orders_migrations ORDER BY 1");
    assert_eq!(versions, "1\n2");
}

#[test]
fn a_run_waits_for_another_one_and_says_so() {
    let env = Env::new();
    let mut other = env.db();
    // What another `orders migrate` holds while it is at work.
    other.run("SELECT pg_advisory_lock(122537101324915)");
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    let said = "another `orders migrate` holds the lock: waiting for it to end\n\
                error: another `orders migrate` still held the lock after 1s\n\
                hint: wait for it to end, or give it longer with --wait\n";
    assert_eq!((impatient.stdout.as_str(), impatient.stderr.as_str()), ("", said));

    let mut patient = env.orders(&["migrate"]).spawn();
    patient.wait_for_line("another `orders migrate` holds the lock: waiting for it to end");
    other.run("SELECT pg_advisory_unlock_all()");
    assert!(patient.wait_exit(PATIENCE).success(), "{:?}", patient.lines());
    assert_eq!(env.db().count("orders_migrations"), 2);
}

#[test]
fn a_table_in_use_is_waited_for_without_holding_anything() {
    let env = Env::new();
    let mut db = env.db();
    db.run(&format!("{GO_ORDERS}{ITS_ROWS} BEGIN; SELECT * FROM orders; SELECT * FROM items"));
    let mut waiting = env.orders(&["migrate", "--wait", "60s"]).spawn();
    wait_for_said(&mut waiting, "002_exactly_once.sql must wait, a table is in use");
    db.run("COMMIT");
    assert!(waiting.wait_exit(PATIENCE).success(), "{:?}", waiting.lines());
    assert_eq!(env.db().count("orders_migrations"), 2);
}

fn wait_for_said(process: &mut Process, text: &str) {
    eventually(text, PATIENCE, || {
        assert!(process.is_running(), "{:?}", process.lines());
        let said = process.lines();
        said.iter().any(|line| line.contains(text)).then_some(())
    });
}

#[test]
fn a_file_checked_out_with_crlf_is_the_same_migration() {
    let env = Env::new();
    env.orders(&["migrate"]).run().succeeds();
    for (version, name) in FILES.iter().enumerate() {
        let path = format!("{}/migrations/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the migration is there");
        let with_crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        let noted = env.db().text(&format!(
            "SELECT checksum FROM orders_migrations WHERE version = {}",
            version + 1
        ));
        assert_eq!(noted, orders::migrations::checksum(&with_crlf), "{name}");
    }
}

#[test]
fn a_file_that_was_applied_from_another_text_is_refused() {
    let env = Env::new();
    env.orders(&["migrate"]).run().succeeds();
    env.db().run("UPDATE orders_migrations SET checksum = 'edited' WHERE version = 2");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "migration `002_exactly_once.sql` was applied from another text than this program has";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    let status = env.orders(&["migrate", "--status", "--output", "json"]).run().exits(3);
    assert_eq!(status.json()["migrations"][1]["state"], "diverged");
}

#[test]
fn a_database_that_knows_more_is_left_alone() {
    let env = Env::new();
    env.orders(&["migrate"]).run().succeeds();
    env.db().run("INSERT INTO orders_migrations VALUES (999, '999_later.sql', 'x')");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "the database knows migration `999_later.sql`, which this program does not\n\
                hint: use the program that wrote it, or a newer one\n";
    assert!(refused.stderr.ends_with(text), "{}", refused.stderr);
    env.orders(&["migrate", "--status"]).run().exits(3);
}

#[test]
fn a_dry_run_writes_nothing_not_even_the_history() {
    let env = Env::new();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stdout, table("pending"));
    let said = "would apply 001_init.sql, 002_exactly_once.sql; nothing was written\n";
    assert_eq!(dry.stderr, said);
    assert_eq!(env.db().number(TABLES), 0);

    env.orders(&["migrate"]).run().succeeds();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stderr, "nothing to apply\n");
}

#[test]
fn the_status_is_3_while_something_is_pending_and_then_0() {
    let env = Env::new();
    let pending = env.orders(&["migrate", "--status"]).run().exits(3);
    assert_eq!((pending.stdout, pending.stderr), (table("pending"), String::new()));
    assert_eq!(env.db().number(TABLES), 0, "asking writes nothing");
    env.orders(&["migrate"]).run().succeeds();
    let done = env.orders(&["migrate", "--status"]).run().succeeds();
    assert_eq!(without_times(&done.stdout), table("applied"));
}

#[test]
fn a_database_in_another_encoding_is_refused_untouched() {
    let env = Env::new();
    let (_, name) = env.db_url.rsplit_once('/').expect("the URL names a database");
    let mut server = Db::open(&given("ORDERS_TEST_PG"));
    server.run(&format!("DROP DATABASE {name}"));
    server.run(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    ));
    for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let refused = env.orders(args).run().exits(1);
        let text = "its encoding is `LATIN1`, which cannot hold every order: create the database \
                    with ENCODING 'UTF8'";
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    assert_eq!(env.db().number(TABLES), 0);
}

#[test]
fn another_programs_table_of_that_name_is_not_touched() {
    let env = Env::new();
    env.db().run("CREATE TABLE orders (id INT, wine TEXT)");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "there is a table `orders` that is not an order table, it has no column `order_uid`: \
                use a database of its own";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    assert_eq!(env.db().number(TABLES), 1);
}

#[test]
fn no_message_about_a_database_holds_its_password() {
    let env = Env::new();
    let server = env.db_url.replace("postgres@", "postgres:s3cr3t@");
    let away = "postgresql://me:s3cr3t@127.0.0.1:1/orders".to_owned();
    let cases = [
        (away.clone(), "0s", 5),
        (away, "1s", 5),
        (format!("{server}_absent"), "0s", 1),
        (format!("{server}?sslmode=require"), "0s", 1),
        (format!("{server}?sslmode=nonsense"), "0s", 2),
        (format!("{server}?nonsense=1"), "0s", 2),
        (server.replace("127.0.0.1:", "127.0.0.1:x"), "0s", 2),
    ];
    for (url, wait, code) in cases {
        for format in ["table", "json"] {
            let args = ["migrate", "--wait", wait, "--output", format, "-v"];
            let ran = env.orders(&args).env("DB_URL", &url).run().exits(code);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains("s3cr3t"), "{url}: {said}");
            assert!(said.contains("error: "), "{url}: {said}");
        }
    }
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
