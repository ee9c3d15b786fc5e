//! A test's own eyes on its database: plain SQL, answers as text, waits with a deadline. The same for
//! PostgreSQL and for the file of the embedded store.

use std::fmt::Display;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};

use super::{PATIENCE, SqliteFile};

/// Connects without TLS; panics where that does not work.
pub fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

/// A connection of the test.
pub enum Db {
    Postgres(Box<Client>),
    Sqlite(SqliteFile),
}

impl Db {
    pub fn open(url: &str) -> Db {
        Db::Postgres(Box::new(connect(url)))
    }

    /// The file of an embedded store, opened as any other program would.
    pub fn open_file(file: &Path) -> Db {
        Db::Sqlite(SqliteFile::new(file))
    }

    /// PostgreSQL's own client, for what only it can do.
    pub fn client(&mut self) -> &mut Client {
        match self {
            Db::Postgres(client) => client,
            Db::Sqlite(_) => panic!("this test's database is a file"),
        }
    }

    /// Runs statements whose answer does not matter.
    pub fn run(&mut self, sql: &str) {
        match self {
            Db::Postgres(client) => client
                .batch_execute(sql)
                .unwrap_or_else(|error| panic!("{sql}: {error}")),
            Db::Sqlite(file) => file.run(sql),
        }
    }

    /// All rows as text: columns joined by `|`, rows by line ends, NULL as nothing.
    pub fn text(&mut self, query: &str) -> String {
        match self {
            Db::Postgres(client) => text_of(client, query),
            Db::Sqlite(file) => file.text(query),
        }
    }

    /// One number.
    pub fn number(&mut self, query: &str) -> i64 {
        let text = self.text(query);
        text.parse()
            .unwrap_or_else(|_| panic!("{query} did not give a number but `{text}`"))
    }

    pub fn count(&mut self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}"))
    }

    /// Waits until the query gives exactly this text.
    pub fn eventually(&mut self, query: &str, expected: impl Display) {
        self.eventually_within(query, expected, PATIENCE);
    }

    pub fn eventually_within(&mut self, query: &str, expected: impl Display, within: Duration) {
        let (expected, deadline) = (expected.to_string(), Instant::now() + within);
        loop {
            let found = self.text(query);
            if found == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "after {within:?} `{query}` gives\n{found}\nand not\n{expected}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
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
