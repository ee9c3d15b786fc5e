//! The store on PostgreSQL.
//!
//! In `postgres/`: `url`, `servers`, `tls` and `passfile` say where to connect and how, `session` what a
//! connection is set to, `connecting` opens one; `transaction` provides the steps of a write,
//! `positions`, `dead_letters`, `erasures`, `gaps` and `rows` their statements, `lookup` and `snapshot`
//! read, by `orders` and `pages`, `operator` does what operators ask, `schema` migrates, `errors`
//! classifies.
//!
//! # Invariants
//!
//! rust-postgres answers Ok to a COMMIT that the server turned into a ROLLBACK, so a statement that
//! fails in a lost transaction always runs right before it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ::postgres::Client;

use self::schema::PostgresSchema;
use self::servers::Servers;
use self::snapshot::PostgresSnapshot;
use self::statements::Statements;
use super::{
    Applied, AppliedMigration, Batch, Claim, Holder, LookupResults, OperatorStore, OrderStore,
    Position, RejectionWindow, Schema, Snapshot, StartDecision, StoreEngine, StoreError,
    StoredOrder, apply,
};

pub use self::url::{UrlError, variables};

mod columns;
mod connecting;
mod dead_letters;
mod erasures;
mod errors;
mod gaps;
mod lookup;
mod micros;
mod operator;
mod orders;
mod page;
mod pages;
mod passfile;
mod positions;
mod rows;
mod schema;
mod servers;
mod session;
mod snapshot;
mod statements;
mod template;
mod tls;
mod transaction;
mod url;

/// A PostgreSQL database that connections can be opened to.
pub struct PostgresEngine {
    servers: Servers,
}

impl PostgresEngine {
    /// Reads a `postgresql://` URL by libpq's rules, with the certificates and the password file that
    /// belong to it; does not connect. `values` are those of [`variables`] and of HOME.
    pub fn new(url: &str, values: &BTreeMap<String, String>) -> Result<PostgresEngine, UrlError> {
        let servers = Servers::new(url, values)?;
        Ok(PostgresEngine { servers })
    }

    fn store(&self) -> Result<PostgresStore, StoreError> {
        Ok(PostgresStore {
            client: self.servers.connect()?,
            statements: Statements::default(),
            takes_copy: None,
        })
    }
}

impl StoreEngine for PostgresEngine {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        Ok(Box::new(self.store()?))
    }

    fn schema(&self) -> Result<Box<dyn Schema>, StoreError> {
        Ok(Box::new(PostgresSchema::new(self.servers.connect()?)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(PostgresSnapshot::begin(
            self.store()?,
            self.store()?,
        )?))
    }

    fn operator(&self) -> Result<Box<dyn OperatorStore>, StoreError> {
        Ok(Box::new(self.store()?))
    }

    fn describe(&self) -> String {
        self.servers.describe().to_owned()
    }
}

/// One connection with its prepared statements.
struct PostgresStore {
    client: Client,
    statements: Statements,
    /// Whether the tables take COPY; not known before the first large batch.
    takes_copy: Option<bool>,
}

impl OrderStore for PostgresStore {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        positions::acquire(&mut self.client, claim)
    }

    fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        apply::commit_start(self, claim, decision)
    }

    fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        apply::apply(self, batch, window)
    }

    fn lookup(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, StoreError> {
        self.read_uids(log_id, uids)
    }

    fn latest(
        &mut self,
        log_id: &str,
        limit: usize,
        visit: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError> {
        self.read_latest(log_id, limit, visit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        let found = positions::find(&mut self.client, log_id, partition)?;
        Ok(found.map(|found| found.position))
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        let found = positions::find(&mut self.client, &claim.log_id, claim.partition)?;
        Ok(found.and_then(|found| found.other_than(claim.owner)))
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        schema::history(&mut self.client)
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.client.simple_query("SELECT 1")?;
        Ok(())
    }
}
