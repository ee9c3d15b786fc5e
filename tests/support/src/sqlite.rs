//! A SQLite file as a test reads it: plain SQL, results as text in PostgreSQL's notation.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::TIMEOUT;

/// A file that is opened for each query, so that no connection of the test holds a lock.
#[derive(Clone, Debug)]
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    pub fn new(path: &Path) -> SqliteFile {
        SqliteFile(path.to_owned())
    }

    pub fn open(&self) -> Connection {
        let path = self.0.display();
        let connection =
            Connection::open(&self.0).unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
        connection
            .busy_timeout(TIMEOUT)
            .expect("a timeout can be set");
        connection
    }

    /// Runs statements without a result.
    pub fn run(&self, sql: &str) {
        self.open()
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// All rows as text: columns joined by `|`, rows by line feeds, NULL as an empty column.
    pub fn text(&self, query: &str) -> String {
        self.try_text(query)
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    fn try_text(&self, query: &str) -> rusqlite::Result<String> {
        let connection = self.open();
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let cells: Vec<String> = (0..columns)
                .map(|column| row.get_ref(column).map(text_of))
                .collect::<rusqlite::Result<_>>()?;
            lines.push(cells.join("|"));
        }
        Ok(lines.join("\n"))
    }
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => {
            let mut text = "\\x".to_owned();
            for byte in bytes {
                write!(text, "{byte:02x}").expect("a text can be written to");
            }
            text
        }
    }
}
