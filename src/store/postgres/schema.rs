//! What `orders migrate` does to PostgreSQL.
//!
//! Owns the history table `orders_migrations`, the advisory lock and the check that what is there can
//! hold orders; the plan is `migrations`' business. The surprising thing: the lock is tried, never
//! waited for inside the database. A session that waits in a statement holds a snapshot, and that
//! can deadlock with the very migration it waits for.

use super::{
    AppliedMigration, Client, Dialect, Migration, Schema, StoreError, classify, existing_tables,
};

/// Names the lock among the advisory locks of the database: "orders" in ASCII.
const LOCK: i64 = 0x6f72_6465_7273;

/// Migrations and waits may be long: none of the session's time-outs may end them. `lock_timeout`
/// stays: a migration that queues for a table makes everybody else queue behind it.
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

const NOTE: &str = "INSERT INTO orders_migrations (version, name, checksum) VALUES ($1, $2, $3)";

const COLUMNS: &str = "SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";

/// One connection for `orders migrate`.
pub(super) struct PostgresSchema {
    client: Client,
}

impl PostgresSchema {
    pub(super) fn open(client: Client) -> PostgresSchema {
        PostgresSchema { client }
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>, StoreError> {
        let rows = self
            .client
            .query(COLUMNS, &[&table])
            .map_err(|error| classify(&error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// The history in order of version; empty when there is no history table. Writes nothing.
pub(super) fn history(client: &mut Client) -> Result<Vec<AppliedMigration>, StoreError> {
    let exists = client
        .query_one(HAS_HISTORY, &[])
        .map_err(|error| classify(&error))?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query(HISTORY, &[])
        .map_err(|error| classify(&error))?;
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
        self.client
            .execute(NO_TIMEOUTS, &[])
            .map_err(|error| classify(&error))?;
        let row = self
            .client
            .query_one("SELECT current_setting('server_encoding')", &[])
            .map_err(|error| classify(&error))?;
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

    fn has_preexisting_tables(&mut self) -> Result<bool, StoreError> {
        if !self.history()?.is_empty() {
            return Ok(false);
        }
        existing_tables::has_order_tables(|table| self.columns(table))
    }

    fn try_lock(&mut self) -> Result<bool, StoreError> {
        let row = self
            .client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
            .map_err(|error| classify(&error))?;
        Ok(row.get(0))
    }

    fn apply(&mut self, migration: Migration<'_>) -> Result<(), StoreError> {
        let Migration {
            version,
            name,
            checksum,
            sql,
        } = migration;
        let wrong = |error| classify(&error);
        let mut transaction = self.client.transaction().map_err(wrong)?;
        transaction.batch_execute(CREATE_HISTORY).map_err(wrong)?;
        transaction.batch_execute(sql).map_err(wrong)?;
        // Last before COMMIT, and it fails in a broken transaction: an Ok of COMMIT is then true.
        transaction
            .execute(NOTE, &[&version, &name, &checksum])
            .map_err(wrong)?;
        transaction.commit().map_err(wrong)
    }
}
