//! The schema of a PostgreSQL database, for `orders migrate`.
//!
//! Owns the history table `orders_migrations`, the advisory lock and the check that the database
//! can hold orders; `migrations` plans. No statement waits for the lock: a waiting session holds a
//! snapshot, which can deadlock with the migration that it waits for.
//!
//! # Invariants
//!
//! All tables are in `current_schema()`, where CREATE TABLE puts them: a table that is found further
//! along the search_path is never taken for one of them.

use ::postgres::{Client, Error as PgError, GenericClient};

use super::columns;
use crate::store::{
    AppliedMigration, Dialect, Migration, Relation, Schema, StoreError, existing_tables,
};

/// The key of the advisory lock: "orders" in ASCII.
const LOCK: i64 = 0x6f72_6465_7273;

/// Migrations may take long: no timeout of the session may end them. `lock_timeout` stays, because
/// other sessions queue behind a migration that waits for a table.
pub(super) const NO_TIMEOUTS: &str = "SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
                   'idle_session_timeout', 'transaction_timeout')";

const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS orders_migrations (
        version    INT PRIMARY KEY,
        name       TEXT        NOT NULL,
        checksum   TEXT        NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    ALTER TABLE orders_migrations
        ADD COLUMN IF NOT EXISTS compatible BOOLEAN NOT NULL DEFAULT false";

/// A history that an older program wrote has no column `compatible`.
const HISTORY: &str = "SELECT version, name, checksum,
        to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
        COALESCE((to_jsonb(m) ->> 'compatible')::boolean, false)
    FROM orders_migrations m ORDER BY version";

const INSERT_HISTORY: &str =
    "INSERT INTO orders_migrations (version, name, checksum, compatible) VALUES ($1, $2, $3, $4)";

/// Building an index concurrently waits for every transaction that is older than it, and blocks no
/// other session meanwhile: the short limit of the session would begin it again and again.
const PATIENT: &str = "SET lock_timeout = '60s'";

/// No other session writes once this is granted.
const LOCK_TABLES: &str = "LOCK TABLE orders, dead_letters IN SHARE MODE NOWAIT";

/// Whether nothing was ever stored, not even in a transaction that was rolled back.
const ARE_NEW: &str = "
    SELECT count(*) = 2 FROM pg_class
    WHERE oid IN ('orders'::regclass, 'dead_letters'::regclass)
      AND relkind = 'r' AND pg_relation_size(oid) = 0";

const ENCODING: &str = "SELECT current_setting('server_encoding')";

const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1)";

/// What has this name in the current schema, with its columns.
const RELATION: &str = "
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
               WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
               WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type' ELSE 'index' END,
           array(SELECT attname::text FROM pg_attribute
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relname = $1";

/// The current schema and, of a history or a table of orders that another schema of the search_path
/// has, that schema.
const SCHEMAS: &str = "
    SELECT current_schema()::text, current_user::text, (
        SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid IN (to_regclass('orders_migrations'), to_regclass('orders'))
          AND n.nspname <> current_schema()
          AND (c.relname = 'orders_migrations' OR EXISTS (
              SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'oof_shard'))
        LIMIT 1)";

/// One connection for `orders migrate`.
pub(super) struct PostgresSchema {
    client: Client,
}

impl PostgresSchema {
    pub(super) fn new(client: Client) -> PostgresSchema {
        PostgresSchema { client }
    }
}

fn relation(client: &mut Client, name: &str) -> Result<Option<Relation>, PgError> {
    let row = client.query_opt(RELATION, &[&name])?;
    Ok(row.map(|row| Relation {
        kind: row.get(0),
        columns: row.get(1),
    }))
}

/// The history in order of version; empty when there is no history table. Writes nothing.
pub(super) fn history(client: &mut Client) -> Result<Vec<AppliedMigration>, StoreError> {
    let Some(found) = relation(client, existing_tables::HISTORY)? else {
        check_schemas(client)?;
        return Ok(Vec::new());
    };
    existing_tables::check_history(&found)?;
    let rows = client.query(HISTORY, &[])?;
    let applied = rows.iter().map(|row| AppliedMigration {
        version: row.get(0),
        name: row.get(1),
        checksum: row.get(2),
        applied_at: row.get(3),
        is_compatible: row.get(4),
    });
    Ok(applied.collect())
}

/// Refuses a session without a current schema, and one whose tables are elsewhere on its search_path.
fn check_schemas(client: &mut Client) -> Result<(), StoreError> {
    let row = client.query_one(SCHEMAS, &[])?;
    let (current, role): (Option<String>, String) = (row.get(0), row.get(1));
    let Some(current) = current else {
        return Err(StoreError::Misconfigured(format!(
            "the role `{role}` has no schema for the tables: create one of those that its \
             search_path names, or set another search_path"
        )));
    };
    match row.get::<_, Option<String>>(2) {
        None => Ok(()),
        Some(other) => Err(StoreError::Misconfigured(format!(
            "its tables are in the schema `{other}`, and `{current}` comes first in the search_path \
             of the role `{role}`: to use them, ALTER ROLE {role} SET search_path = {other}, or add \
             options=-csearch_path%3D{other} to the URL; to begin with new tables in `{current}`, \
             name `{current}` alone there"
        ))),
    }
}

fn apply(client: &mut impl GenericClient, migration: &Migration) -> Result<(), StoreError> {
    client.batch_execute(CREATE_HISTORY).map_err(explain)?;
    client.batch_execute(migration.sql).map_err(explain)?;
    // Last before COMMIT: it fails in a transaction that was rolled back, where COMMIT answers Ok.
    insert_history(client, migration)
}

/// Builds the indexes of new tables in one transaction, which takes a few milliseconds; `false` when the
/// tables are not new, or are in use.
fn apply_to_new_tables(client: &mut Client, migration: &Migration) -> Result<bool, StoreError> {
    let mut transaction = client.transaction()?;
    if transaction.batch_execute(LOCK_TABLES).is_err() {
        return Ok(false);
    }
    let are_new: bool = transaction.query_one(ARE_NEW, &[])?.get(0);
    if !are_new {
        return Ok(false);
    }
    let sql = migration.sql.replace(" CONCURRENTLY ", " ");
    transaction.batch_execute(&sql).map_err(explain)?;
    insert_history(&mut transaction, migration)?;
    transaction.commit()?;
    Ok(true)
}

/// Runs each statement in a transaction of its own. None holds a semicolon but at its end.
fn apply_statements(client: &mut Client, migration: &Migration) -> Result<(), StoreError> {
    client.batch_execute(PATIENT)?;
    for statement in migration.sql.split_inclusive(';') {
        client.batch_execute(statement).map_err(explain)?;
    }
    insert_history(client, migration)
}

fn insert_history(
    client: &mut impl GenericClient,
    migration: &Migration,
) -> Result<(), StoreError> {
    let Migration {
        version,
        name,
        checksum,
        is_compatible,
        ..
    } = migration;
    client.execute(INSERT_HISTORY, &[version, name, checksum, is_compatible])?;
    Ok(())
}

/// Adds what to do where the server says that something of the user's stands in the way.
fn explain(error: PgError) -> StoreError {
    let Some(db_error) = error.as_db_error() else {
        return error.into();
    };
    let message = db_error.message();
    let code = db_error.code().code();
    match (code, db_error.detail()) {
        // A view or a rule on a column that changes, or an object that needs what is dropped.
        ("0A000" | "2BP01", Some(detail)) => StoreError::Misconfigured(format!(
            "{message} ({detail}; SQLSTATE {code}): drop what depends on it, run `orders migrate`, \
             and create it again"
        )),
        ("42501", _) => StoreError::Misconfigured(format!(
            "{message} (SQLSTATE {code}): migrate as the owner of the schema and its tables, or \
             GRANT CREATE ON SCHEMA to the role"
        )),
        _ => error.into(),
    }
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

    fn relation(&mut self, name: &str) -> Result<Option<Relation>, StoreError> {
        Ok(relation(&mut self.client, name)?)
    }

    fn differences(&mut self) -> Result<Vec<String>, StoreError> {
        columns::differences(&mut self.client)
    }

    fn try_lock(&mut self) -> Result<bool, StoreError> {
        let row = self.client.query_one(TRY_LOCK, &[&LOCK])?;
        Ok(row.get(0))
    }

    fn rehearse(&mut self, migrations: &[&Migration]) -> Result<(), StoreError> {
        let mut transaction = self.client.transaction()?;
        migrations
            .iter()
            .try_for_each(|migration| apply(&mut transaction, migration))
    }

    fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        if !migration.in_transaction {
            if apply_to_new_tables(&mut self.client, migration)? {
                return Ok(());
            }
            return apply_statements(&mut self.client, migration);
        }
        let mut transaction = self.client.transaction()?;
        apply(&mut transaction, migration)?;
        Ok(transaction.commit()?)
    }
}
