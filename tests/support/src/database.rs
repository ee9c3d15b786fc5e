//! The test's own connection to its database, PostgreSQL or the file of the embedded store: plain SQL,
//! results as text, waits with a deadline.

use std::fmt::Display;
use std::path::Path;

use postgres::{Client, NoTls, SimpleQueryMessage};
use rusqlite::Connection;
use serde_json::Value;

use crate::{SqliteFile, TIMEOUT, eventually_ok};

/// Connects without TLS; panics where that does not work.
pub fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

/// A connection to the database of a test.
pub enum Db {
    Postgres(Box<Client>),
    Sqlite(SqliteFile),
}

impl Db {
    pub fn open(url: &str) -> Db {
        Db::Postgres(Box::new(connect(url)))
    }

    /// Opens the file of an embedded store as any other program would.
    pub fn open_file(file: &Path) -> Db {
        Db::Sqlite(SqliteFile::new(file))
    }

    /// The client of PostgreSQL, for what only it can do.
    pub fn client(&mut self) -> &mut Client {
        match self {
            Db::Postgres(client) => client,
            Db::Sqlite(_) => panic!("the database of this test is a file"),
        }
    }

    /// Runs statements without a result.
    pub fn run(&mut self, sql: &str) {
        match self {
            Db::Postgres(client) => client
                .batch_execute(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}")),
            Db::Sqlite(file) => file.run(sql),
        }
    }

    /// All rows as text: columns joined by `|`, rows by line feeds, NULL as an empty column.
    pub fn text(&mut self, query: &str) -> String {
        match self {
            Db::Postgres(client) => text_of(client, query),
            Db::Sqlite(file) => file.text(query),
        }
    }

    /// One JSON document per row: `members` are names and columns, such as `'uid', order_uid`;
    /// `OBJECT(…)` is one inside.
    pub fn json(&mut self, members: &str, from: &str) -> Vec<Value> {
        let object = self.dialect("json_build_object", "json_object");
        let members = members.replace("OBJECT", object);
        let rows = self.text(&format!("SELECT {object}({members}) FROM {from}"));
        let document = |row: &str| serde_json::from_str(row).expect("the engine writes JSON");
        rows.lines().map(document).collect()
    }

    /// The expression for a time in the format of the embedded store: `2021-11-26T06:22:19.000000Z`.
    pub fn timestamp(&self, column: &str) -> String {
        let format = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";
        let postgres = format!("to_char({column} AT TIME ZONE 'UTC', {format})");
        self.dialect(&postgres, column).to_owned()
    }

    /// Has the database refuse orders for which the condition is true, such as `locale = 'xx'`.
    pub fn add_check(&mut self, rule: &str, refused: &str) {
        let check =
            format!("ALTER TABLE orders ADD CONSTRAINT {rule} CHECK (NOT ({refused})) NOT VALID");
        // SQLite cannot add a CHECK to an existing table.
        let trigger = format!(
            "CREATE TRIGGER {rule} BEFORE INSERT ON orders WHEN NEW.{refused}
             BEGIN SELECT RAISE(ABORT, 'refused by {rule}'); END"
        );
        let statement = self.dialect(&check, &trigger).to_owned();
        self.run(&statement);
    }

    /// Removes the rule of `add_check`.
    pub fn drop_check(&mut self, rule: &str) {
        let check = format!("ALTER TABLE orders DROP CONSTRAINT {rule}");
        let trigger = format!("DROP TRIGGER {rule}");
        let statement = self.dialect(&check, &trigger).to_owned();
        self.run(&statement);
    }

    /// Blocks writers of orders, not readers, until the lock is dropped.
    pub fn lock_writers(self) -> WriteLock {
        match self {
            Db::Postgres(mut client) => {
                let lock = "BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE";
                client.batch_execute(lock).expect("the lock is available");
                WriteLock::Postgres(client)
            }
            Db::Sqlite(file) => {
                let connection = file.open();
                let locked = connection.execute_batch("BEGIN IMMEDIATE");
                locked.expect("the lock is available");
                WriteLock::Sqlite(connection)
            }
        }
    }

    fn dialect<'a>(&self, postgres: &'a str, sqlite: &'a str) -> &'a str {
        match self {
            Db::Postgres(_) => postgres,
            Db::Sqlite(_) => sqlite,
        }
    }

    /// The result of a query that returns one number.
    pub fn number(&mut self, query: &str) -> i64 {
        let text = self.text(query);
        text.parse()
            .unwrap_or_else(|_| panic!("{query} did not return a number but `{text}`"))
    }

    pub fn count(&mut self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}"))
    }

    /// The next offset of each partition.
    pub fn positions(&mut self) -> Vec<i64> {
        let rows = self.text("SELECT next_offset FROM log_positions ORDER BY partition");
        let rows = rows.lines().map(|row| row.parse().expect("an offset"));
        rows.collect()
    }

    /// The number of records that the positions have passed.
    pub fn applied(&mut self) -> i64 {
        self.positions().iter().sum()
    }

    /// Whether the positions of all partitions have passed these offsets.
    pub fn has_applied(&mut self, ends: &[i64]) -> bool {
        let positions = self.positions();
        let mut pairs = ends.iter().zip(&positions);
        positions.len() == ends.len() && pairs.all(|(end, position)| end <= position)
    }

    /// Terminates the sessions of the program in this database; returns their number.
    pub fn terminate_sessions(&mut self) -> i64 {
        self.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'orders'",
        )
    }

    /// Waits until the query returns exactly this text.
    pub fn eventually(&mut self, query: &str, expected: impl Display) {
        let expected = expected.to_string();
        let what = format!("`{query}` to return\n{expected}\n");
        eventually_ok(what, TIMEOUT, || {
            let found = self.text(query);
            let is_expected = found == expected;
            is_expected
                .then_some(())
                .ok_or_else(|| format!("it returns\n{found}"))
        });
    }
}

/// A lock that ends with its connection.
pub enum WriteLock {
    Postgres(Box<Client>),
    Sqlite(Connection),
}

/// Bytes as both engines show them, such as `\\x00ff`; `None` for NULL.
pub fn bytes(shown: &str) -> Option<Vec<u8>> {
    let digits = shown.strip_prefix("\\x")?.as_bytes();
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits.chunks(2).map(byte).collect()
}

fn text_of(client: &mut Client, query: &str) -> String {
    let messages = client
        .simple_query(query)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut lines = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len())
                .map(|column| row.get(column).unwrap_or(""))
                .collect();
            lines.push(cells.join("|"));
        }
    }
    lines.join("\n")
}
