//! What `orders status` asks of a store.

use crate::order::Timestamp;
use crate::store::StoreError;

/// Counts the open dead letters, with the time of the newest.
pub(in crate::store) const OPEN_DEAD_LETTERS: &str =
    "SELECT count(*), max(dead_at) FROM dead_letters WHERE resolution IS NULL";

/// What a store says of itself.
pub trait Overview {
    /// The engine and its version, such as `PostgreSQL 15.20`.
    fn engine_version(&mut self) -> Result<String, StoreError>;

    /// Counts the open dead letters, and returns when the newest of them was written.
    fn open_dead_letters(&mut self) -> Result<(u64, Timestamp), StoreError>;
}
