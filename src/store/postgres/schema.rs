//! The schema of a PostgreSQL database, for `orders migrate`.
//!
//! Owns the history table `orders_migrations`, the advisory lock and the check that the database
//! can hold orders; `migrations` plans. No statement waits for the lock: a waiting session holds a
//! snapshot, which can deadlock with the migration that it waits for.

use super::client::Client;
use crate::store::{AppliedMigration, Dialect, Migration, Schema, StoreError};

/// The key of the advisory lock: "orders" in ASCII.
const LOCK: i64 = 0x6f72_6465_7273;

/// Migrations may take long: no timeout of the session may end them. `lock_timeout` stays, because
/// other sessions queue behind a migration that waits for a table.
pub(super) const NO_TIMEOUTS: &str = "SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
                   'idle_session_timeout', 'transaction_timeout')";

const HAS_HISTORY: &str = "SELECT to_regclass('orders_migrations') IS NOT NULL";

const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS orders_migrations (
        version    INT PRIMARY KEY,
        name       TEXT        NOT NULL,
        checksum   TEXT        NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )";

const HISTORY: &str = "SELECT version, name, checksum,
        to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
    FROM orders_migrations ORDER BY version";

const INSERT_HISTORY: &str =
    "INSERT INTO orders_migrations (version, name, checksum) VALUES ($1, $2, $3)";

const ENCODING: &str = "SELECT current_setting('server_encoding')";

const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1)";

const COLUMNS: &str = "SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";

/// One connection for `orders migrate`.
pub(super) struct PostgresSchema {
    client: Client,
}

impl PostgresSchema {
    pub(super) fn new(client: Client) -> PostgresSchema {
        PostgresSchema { client }
    }
}

/// The history in order of version; empty when there is no history table. Writes nothing.
pub(super) fn history(client: &mut Client) -> Result<Vec<AppliedMigration>, StoreError> {
    let exists = client.query_one(HAS_HISTORY, &[])?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client.query(HISTORY, &[])?;
    let applied = rows.iter().map(|row| AppliedMigration {
        version: row.get(0),
        name: row.get(1),
        checksum: row.get(2),
        applied_at: row.get(3),
    });
    Ok(applied.collect())
}

impl Schema for PostgresSchema {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.client.execute(NO_TIMEOUTS, &[])?;
        let row = self.client.query_one(ENCODING, &[])?;
        match row.get(0) {
            "UTF8" => Ok(()),
            other => Err(StoreError::Misconfigured(format!(
                "its encoding is `{other}`, which cannot hold every order: create the database \
                 with ENCODING 'UTF8'"
            ))),
        }
    }

    fn history(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        history(&mut self.client)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.client.query(COLUMNS, &[&table])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn try_lock(&mut self) -> Result<bool, StoreError> {
        let row = self.client.query_one(TRY_LOCK, &[&LOCK])?;
        Ok(row.get(0))
    }

    fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        let Migration {
            version,
            name,
            checksum,
            sql,
        } = migration;
        let mut transaction = self.client.transaction()?;
        transaction.batch_execute(CREATE_HISTORY)?;
        transaction.batch_execute(sql)?;
        // The last statement before COMMIT: it fails in a transaction that was rolled back, where
        // COMMIT returns Ok.
        transaction.execute(INSERT_HISTORY, &[version, name, checksum])?;
        Ok(transaction.commit()?)
    }
}
