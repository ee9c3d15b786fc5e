//! Orders that were erased, and the records that must not bring them back.
//!
//! An erasure leaves a marker: the digest of the uid, and the time up to which accepted records of it
//! are passed without being stored. The uid itself is gone.
//!
//! # Invariants
//!
//! - A record accepted after the erasure is an order like any other.
//! - An erasure locks every position of the store before it writes its marker, and a batch locks its
//!   position before it reads the markers: neither misses the other.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Batch, DeadLetter, SourcedOrder, StoreError};

/// The SHA-256 of a uid.
pub type UidDigest = [u8; 32];

/// The digest by which an erased order is known.
pub fn uid_digest(uid: &[u8]) -> UidDigest {
    Sha256::digest(uid).into()
}

/// The marker of an erased order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub uid_sha256: UidDigest,
    /// Records accepted up to then are not stored; microseconds since the epoch.
    pub erased_until_us: i64,
}

/// The erasures that concern a batch.
#[derive(Default)]
pub(super) struct Erased(HashMap<UidDigest, i64>);

impl Erased {
    pub(super) fn new(erasures: Vec<Erasure>) -> Erased {
        let erasures = erasures
            .into_iter()
            .map(|erasure| (erasure.uid_sha256, erasure.erased_until_us));
        Erased(erasures.collect())
    }

    /// The digests of every uid that a batch names.
    pub(super) fn digests(batch: &Batch) -> Vec<UidDigest> {
        let orders = batch.orders.iter().map(|it| it.order.order_uid.as_bytes());
        let letters = batch.dead_letters.iter().flat_map(uids);
        orders.chain(letters).map(uid_digest).collect()
    }

    /// The orders of the batch that were not erased. [`StoreError::Rejected`] requests smaller batches,
    /// where one that was erased supersedes an older one, which may have been accepted later.
    pub(super) fn without<'b>(
        &self,
        batch: &'b Batch,
    ) -> Result<Vec<&'b SourcedOrder>, StoreError> {
        let mut orders = Vec::with_capacity(batch.orders.len());
        for sourced in &batch.orders {
            let uid = sourced.order.order_uid.as_bytes();
            if !self.covers(uid, sourced.accepted_at_us) {
                orders.push(sourced);
            } else if sourced.supersedes {
                return Err(StoreError::Rejected("the order was erased".into()));
            }
        }
        Ok(orders)
    }

    /// Whether the record of a dead letter belongs to an order that was erased.
    pub(super) fn covers_letter(&self, letter: &DeadLetter) -> bool {
        uids(letter).any(|uid| self.covers(uid, letter.accepted_at_us))
    }

    fn covers(&self, uid: &[u8], accepted_at_us: i64) -> bool {
        !self.0.is_empty()
            && self
                .0
                .get(&uid_digest(uid))
                .is_some_and(|until| accepted_at_us <= *until)
    }
}

/// The uids that a dead letter may belong to: that of its payload, and its key.
fn uids(letter: &DeadLetter) -> impl Iterator<Item = &[u8]> {
    let uid = letter.order_uid.as_deref().map(str::as_bytes);
    uid.into_iter().chain(letter.key.as_deref())
}
