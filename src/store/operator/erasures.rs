//! Erasing an order.

use crate::order::Timestamp;
use crate::store::{Change, StoreError};

/// What an erasure found and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasedOrder {
    pub was_stored: bool,
    /// The dead letters whose payload, key and reason were removed.
    pub dead_letters: u64,
    /// Records of the order accepted up to then stay out of the store.
    pub erased_until: Timestamp,
}

/// Erases orders for good.
pub trait Erasures {
    /// Removes the order, and what its dead letters hold, and leaves a marker by which the records of
    /// it that were accepted so far are never stored again, all in one transaction. Waits for the
    /// batches under way, and they for it. Erasing twice renews the marker.
    fn erase(&mut self, order_uid: &str, change: &Change<'_>) -> Result<ErasedOrder, StoreError>;

    /// The time up to which records of the order are erased; `None` when it never was.
    fn erased_until(&mut self, order_uid: &str) -> Result<Option<Timestamp>, StoreError>;
}
