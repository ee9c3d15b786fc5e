//! A migrated database of each engine, and a test's own connection to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orders::store::postgres::PostgresEngine;
use orders::store::sqlite::SqliteEngine;
use orders::store::{OrderStore, StoreEngine};
use support::{Db, Env};
use tempfile::TempDir;

/// An engine with its own migrated database.
pub struct Database {
    pub engine: Box<dyn StoreEngine>,
    location: Location,
}

enum Location {
    Server(Env),
    File { file: PathBuf, _folder: TempDir },
}

impl Database {
    pub fn postgres() -> Database {
        let env = Env::empty();
        env.orders(&["migrate"]).run().succeeds();
        Database {
            engine: Box::new(
                PostgresEngine::new(&env.db_url, &BTreeMap::new()).expect("the URL is right"),
            ),
            location: Location::Server(env),
        }
    }

    pub fn sqlite() -> Database {
        let folder =
            TempDir::with_prefix("orders-test-").expect("a temporary folder can be created");
        let path = folder.path().join("store.db");
        let engine = SqliteEngine::new(&path);
        let mut schema = engine.schema().expect("nothing is opened yet");
        orders::migrations::run(&mut *schema, support::TIMEOUT, &|_| {})
            .expect("the file can be created");
        Database {
            engine: Box::new(engine),
            location: Location::File {
                file: path,
                _folder: folder,
            },
        }
    }

    pub fn store(&self) -> Box<dyn OrderStore> {
        self.engine.connect().expect("the database is there")
    }

    pub fn db(&self) -> Db {
        match &self.location {
            Location::Server(env) => env.db(),
            Location::File { file, .. } => Db::open_file(file),
        }
    }

    /// Bytes, written in hex, as a literal of the dialect.
    pub fn hex(&self, hex: &str) -> String {
        match &self.location {
            Location::Server(_) => format!("'\\x{hex}'"),
            Location::File { .. } => format!("x'{hex}'"),
        }
    }

    /// Adds a check that rejects orders with this entry, as a later schema may have one.
    pub fn reject_entry(&self, entry: &str) {
        self.db()
            .add_check("entries", &format!("entry = '{entry}'"));
    }
}
