//! Orders that were left out because the store has a version of another partition.
//!
//! All versions of an order are in one partition unless another program chose the partition, or forged
//! the accept time that decides between partitions: an operator has to see both places.

/// An order that was left out although its record is the newest of its partition: the stored version is
/// of another partition, or another log, and was accepted later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outranked {
    /// The record that was left out.
    pub offset: i64,
    /// Where the stored version came from: `<log id>/<partition>/<offset>`.
    pub stored_at: String,
}

impl Outranked {
    pub(super) fn by(offset: i64, log_id: &str, partition: i32, stored: i64) -> Outranked {
        Outranked {
            offset,
            stored_at: format!("{log_id}/{partition}/{stored}"),
        }
    }
}
