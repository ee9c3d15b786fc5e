//! A write transaction on a SQLite file: the steps that `store::apply` puts in order.
//!
//! One statement a row is as fast as any other way, because no statement leaves the process.

use std::sync::Arc;

use rusqlite::{Connection, Error as SqliteError, Transaction, TransactionBehavior};

use super::{SqliteStore, dead_letters, erasures, gaps, positions, rows};
use crate::sqlite_file::GuardedFile;
use crate::store::apply::{
    Advanced, InsertError, Inserted, OwnedPosition, WriteConnection, WriteTransaction,
};
use crate::store::{
    Batch, Claim, DeadLetter, Erasure, Gap, Outranked, Position, SourcedOrder, StartDecision,
    StoreError, UidDigest,
};

impl WriteConnection for SqliteStore {
    type Transaction<'c> = SqliteTransaction<'c>;

    fn begin(&mut self) -> Result<SqliteTransaction<'_>, StoreError> {
        let file = self.file.clone();
        let connection = &mut self.open()?.connection;
        match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => Ok(SqliteTransaction { transaction, file }),
            Err(error) => Err(file.classify(&error).into()),
        }
    }
}

pub(super) struct SqliteTransaction<'c> {
    transaction: Transaction<'c>,
    /// For errors.
    file: Arc<GuardedFile>,
}

impl SqliteTransaction<'_> {
    /// Runs one step.
    pub(super) fn run<T>(
        &self,
        step: impl FnOnce(&Connection) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        step(&self.transaction).map_err(|error| {
            match self.file.classify(&error).into() {
                // The position would not move with the statements that follow.
                StoreError::Rejected(why) if self.transaction.is_autocommit() => {
                    StoreError::Misconfigured(format!(
                        "a trigger ends the transaction where it may only ABORT: {why}"
                    ))
                }
                error => error,
            }
        })
    }
}

impl WriteTransaction for SqliteTransaction<'_> {
    fn advance(&mut self, batch: &Batch) -> Result<Option<Advanced>, StoreError> {
        self.run(|connection| positions::advance(connection, batch))
    }

    fn find_erasures(&mut self, digests: &[UidDigest]) -> Result<Vec<Erasure>, StoreError> {
        self.run(|connection| erasures::find(connection, digests))
    }

    fn find_position_by_id(&mut self, id: i64) -> Result<Option<OwnedPosition>, StoreError> {
        self.run(|connection| positions::find_by_id(connection, id))
    }

    fn find_position(&mut self, claim: &Claim) -> Result<Option<OwnedPosition>, StoreError> {
        self.run(|connection| positions::find(connection, &claim.log_id, claim.partition))
    }

    fn insert_new<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Inserted<'b>, InsertError> {
        let (mut new, mut known) = (Vec::with_capacity(orders.len()), Vec::new());
        for sourced in orders {
            let is_new = self.run(|connection| rows::insert_order(connection, batch, sourced))?;
            if is_new { &mut new } else { &mut known }.push(*sourced);
        }
        Ok(Inserted { new, known })
    }

    fn upsert<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Vec<&'b SourcedOrder>, StoreError> {
        let mut written = Vec::with_capacity(orders.len());
        for sourced in orders {
            if self.run(|connection| rows::upsert_order(connection, batch, sourced))? {
                written.push(*sourced);
            }
        }
        Ok(written)
    }

    fn find_outranked(
        &mut self,
        batch: &Batch,
        outdated: &[&SourcedOrder],
    ) -> Result<Vec<Outranked>, StoreError> {
        let mut outranked = Vec::new();
        for sourced in outdated {
            outranked.extend(self.run(|connection| rows::outranked(connection, batch, sourced))?);
        }
        Ok(outranked)
    }

    fn delete_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError> {
        for sourced in orders {
            self.run(|connection| rows::delete_parts(connection, &sourced.order.order_uid))?;
        }
        Ok(())
    }

    fn insert_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError> {
        for sourced in orders {
            self.run(|connection| rows::insert_parts(connection, &sourced.order))?;
        }
        Ok(())
    }

    fn insert_dead_letters(
        &mut self,
        batch: &Batch,
        letters: &[DeadLetter],
    ) -> Result<(), StoreError> {
        self.run(|connection| dead_letters::insert(connection, batch, letters))
    }

    fn insert_gaps(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.run(|connection| gaps::insert(connection, batch))
    }

    fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.run(|connection| connection.execute_batch(sql))
    }

    fn upsert_position(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Option<Position>, StoreError> {
        self.run(|connection| positions::upsert(connection, claim, decision))
    }

    fn insert_gap_once(&mut self, position: &Position, gap: &Gap) -> Result<(), StoreError> {
        self.run(|connection| gaps::insert_once(connection, position, gap))
    }

    fn commit(self) -> Result<(), StoreError> {
        let committed = self.transaction.commit();
        committed.map_err(|error| self.file.classify(&error).into())
    }
}
