//! Many stored orders at once, written in plain SQL: what a bulk load by another program, or a long
//! life, leaves in the tables.
//!
//! The uids are in no order, as those of a shop are. PostgreSQL is kept from collecting statistics of
//! these tables, as after a load that has just ended.

use std::io::Write as _;

use postgres::Client;
use rusqlite::params_from_iter;

use crate::{Db, SqliteFile};

/// The uid of the `number`-th order.
pub fn uid(number: u32) -> String {
    // An odd factor: no two numbers have the same product.
    format!(
        "{:016x}",
        u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

/// The items of each order.
pub const ITEMS: u32 = 4;

/// The rows of one order in one table.
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    rows: fn(u32) -> Vec<Vec<String>>,
}

const TABLES: [Table; 4] = [
    Table {
        name: "orders",
        columns: &[
            "order_uid",
            "track_number",
            "entry",
            "locale",
            "internal_signature",
            "customer_id",
            "delivery_service",
            "shardkey",
            "sm_id",
            "date_created",
            "oof_shard",
            "source_position",
            "source_epoch",
            "source_offset",
            "accepted_at",
        ],
        rows: |number| {
            let (uid, created) = (uid(number), created(number));
            let offset = number.to_string();
            let track = format!("TRACK-{number}");
            vec![texts([
                &uid, &track, "WBIL", "en", "", "test", "meest", "9", "99", &created, "1", "1",
                "1", &offset, &created,
            ])]
        },
    },
    Table {
        name: "delivery",
        columns: &[
            "order_uid",
            "name",
            "phone",
            "zip",
            "city",
            "address",
            "region",
            "email",
        ],
        rows: |number| {
            vec![texts([
                &uid(number),
                "Test Testov",
                "+9720000000",
                "2639809",
                "Kiryat Mozkin",
                "Ploshad Mira 15",
                "Kraiot",
                "test@gmail.com",
            ])]
        },
    },
    Table {
        name: "payment",
        columns: &[
            "order_uid",
            "transaction_id",
            "request_id",
            "currency",
            "provider",
            "amount",
            "payment_dt",
            "bank",
            "delivery_cost",
            "goods_total",
            "custom_fee",
        ],
        rows: |number| {
            let uid = uid(number);
            vec![texts([
                &uid,
                &uid,
                "",
                "USD",
                "wbpay",
                "1817",
                "1637907727",
                "alpha",
                "1500",
                "317",
                "0",
            ])]
        },
    },
    Table {
        name: "items",
        columns: &[
            "order_uid",
            "chrt_id",
            "track_number",
            "price",
            "rid",
            "name",
            "sale",
            "size",
            "total_price",
            "nm_id",
            "brand",
            "status",
        ],
        rows: |number| {
            let (uid, track) = (uid(number), format!("TRACK-{number}"));
            let item = |item: u32| {
                let rid = format!("{uid}-{item}");
                texts([
                    &uid,
                    "9934930",
                    &track,
                    "453",
                    &rid,
                    "Mascaras",
                    "30",
                    "0",
                    "317",
                    "2389212",
                    "Vivienne Sabo",
                    "202",
                ])
            };
            (0..ITEMS).map(item).collect()
        },
    },
];

fn texts<const COLUMNS: usize>(values: [&str; COLUMNS]) -> Vec<String> {
    values.map(str::to_owned).to_vec()
}

/// When the `number`-th order was created: a second after the one before.
pub fn created(number: u32) -> String {
    let (minutes, second) = (number / 60, number % 60);
    let (hours, minute) = (minutes / 60, minutes % 60);
    let (day, hour) = (hours / 24 + 1, hours % 24);
    assert!(day <= 31, "there are at most {} orders", 31 * 24 * 60 * 60);
    format!("2021-01-{day:02}T{hour:02}:{minute:02}:{second:02}.000000Z")
}

impl Db {
    /// Writes the orders `0..count`, with position 1 as their source.
    pub fn insert_orders(&mut self, count: u32) {
        match self {
            Db::Postgres(client) => copy(client, count),
            Db::Sqlite(file) => insert(file, count),
        }
    }
}

fn copy(client: &mut Client, count: u32) {
    for Table {
        name,
        columns,
        rows,
    } in &TABLES
    {
        let alter = format!("ALTER TABLE {name} SET (autovacuum_enabled = off)");
        client.batch_execute(&alter).expect("the table exists");
        let statement = format!("COPY {name} ({}) FROM STDIN", columns.join(", "));
        let mut writer = client.copy_in(&statement).expect("the columns exist");
        for row in (0..count).flat_map(rows) {
            let line = row.join("\t") + "\n";
            writer.write_all(line.as_bytes()).expect("the server reads");
        }
        writer.finish().expect("the rows are right");
    }
}

fn insert(file: &SqliteFile, count: u32) {
    let mut connection = file.open();
    let transaction = connection.transaction().expect("nobody writes");
    for Table {
        name,
        columns,
        rows,
    } in &TABLES
    {
        let values = vec!["?"; columns.len()].join(", ");
        let names = columns.join(", ");
        let statement = format!("INSERT INTO {name} ({names}) VALUES ({values})");
        let mut statement = transaction.prepare(&statement).expect("the columns exist");
        for row in (0..count).flat_map(rows) {
            let inserted = statement.execute(params_from_iter(row));
            inserted.expect("the row is right");
        }
    }
    transaction.commit().expect("the disk has room");
}
