//! The result of a verification.

use super::story::Why;
use crate::pipeline::PartitionOffset;

/// How many findings are kept; the others are counted.
pub const MAX_FINDINGS: usize = 10_000;

/// A record that is not accounted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub at: PartitionOffset,
    pub order_uid: Option<String>,
    pub why: Why,
}

/// A stored order whose row names a record that the log does not have, or that is of another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutRecord {
    pub order_uid: String,
    pub names: PartitionOffset,
}

/// What is wrong with a whole partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionFault {
    /// The position is past the end of the log.
    PositionPastEnd { position: i64, end: i64 },
    /// Records `from..to` were deleted before they were read.
    DeletedUnread { from: i64, to: i64 },
}

/// Findings, the first ones by partition and offset.
#[derive(Debug)]
pub struct Findings<T> {
    /// At most [`MAX_FINDINGS`].
    pub listed: Vec<T>,
    pub count: u64,
}

impl<T> Default for Findings<T> {
    fn default() -> Findings<T> {
        Findings {
            listed: Vec::new(),
            count: 0,
        }
    }
}

impl<T> Findings<T> {
    pub(super) fn add(&mut self, finding: T) {
        self.count += 1;
        if self.listed.len() < MAX_FINDINGS {
            self.listed.push(finding);
        }
    }
}

/// The result. `records` is the sum of the six numbers after it, the last being `missing.count`.
#[derive(Debug, Default)]
pub struct Report {
    pub records: u64,
    pub stored: u64,
    pub older_versions: u64,
    pub dead_letters: u64,
    pub in_gaps: u64,
    pub erased: u64,
    pub missing: Findings<Missing>,
    pub without_record: Findings<WithoutRecord>,
    pub partitions: Vec<(i32, PartitionFault)>,
    /// Offsets above the positions: not applied yet, so not verified.
    pub waiting: u64,
}

impl Report {
    /// Whether nothing is lost.
    pub fn is_complete(&self) -> bool {
        self.missing.count == 0 && self.without_record.count == 0 && self.partitions.is_empty()
    }
}
