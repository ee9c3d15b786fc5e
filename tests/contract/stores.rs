//! A migrated database of each engine, with a test's own eyes on it.

use std::path::PathBuf;

use orders::store::postgres::PostgresEngine;
use orders::store::sqlite::SqliteEngine;
use orders::store::{Dialect, OrderStore, StoreEngine};
use support::{Db, Env};
use tempfile::TempDir;

/// An engine with a migrated database of its own.
pub struct Database {
    pub engine: Box<dyn StoreEngine>,
    pub dialect: Dialect,
    place: Place,
}

enum Place {
    Server(Env),
    File { file: PathBuf, _folder: TempDir },
}

impl Database {
    pub fn postgres() -> Database {
        let env = Env::empty();
        env.orders(&["migrate"]).run().succeeds();
        Database {
            engine: Box::new(PostgresEngine::new(&env.db_url).expect("the URL is right")),
            dialect: Dialect::Postgres,
            place: Place::Server(env),
        }
    }

    pub fn sqlite() -> Database {
        let folder = TempDir::with_prefix("orders-test-").expect("a temporary folder can be made");
        let path = folder.path().join("store.db");
        let engine = SqliteEngine::new(&path);
        let mut schema = engine.schema().expect("nothing is opened yet");
        orders::migrations::run(&mut *schema, support::TIMEOUT, &|_| {})
            .expect("the file can be made");
        Database {
            engine: Box::new(engine),
            dialect: Dialect::Sqlite,
            place: Place::File {
                file: path,
                _folder: folder,
            },
        }
    }

    pub fn store(&self) -> Box<dyn OrderStore> {
        self.engine.connect().expect("the database is there")
    }

    pub fn db(&self) -> Db {
        match &self.place {
            Place::Server(env) => env.db(),
            Place::File { file, .. } => Db::open_file(file),
        }
    }

    /// A check that only some orders break, as a database of later days may have one.
    pub fn refuse_entry(&self, entry: &str) {
        self.db()
            .add_check("entries", &format!("entry = '{entry}'"));
    }
}
