//! What travels between processes and is compared there: records, positions, versions, and the
//! messages of the lookup protocol.
//!
//! Owns every comparison of topic ids, offsets and accept times, so that log, store, cache, consumer
//! and API cannot disagree about them. Plain values: nothing here does I/O, except that
//! [`time`] reads the clock.

mod lag;
pub mod lookup_protocol;
mod partitioner;
mod position;
mod record;
pub mod time;
mod version;

pub use lag::{Lag, PartitionLag, lag};
pub use partitioner::partition_of;
pub use position::{LastApplied, PartitionOffset, Source, TopicId};
pub use record::{ACCEPTED_AT, MAX_AHEAD_US, Record};
pub use version::Version;
