//! A test's own eyes on its database: plain SQL, answers as text, waits with a deadline.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};

use super::PATIENCE;

/// Connects without TLS; panics where that does not work.
pub fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

/// A connection of the test.
pub struct Db {
    pub client: Client,
}

impl Db {
    pub fn open(url: &str) -> Db {
        Db {
            client: connect(url),
        }
    }

    /// Runs statements whose answer does not matter.
    pub fn run(&mut self, sql: &str) {
        self.client
            .batch_execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// All rows as text: columns joined by `|`, rows by line ends, NULL as nothing.
    pub fn text(&mut self, query: &str) -> String {
        let messages = self
            .client
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
