//! The time of the first record at or after an offset: since when records wait.

use super::{EventLog, LogError, ReadBack};
use crate::pipeline::PartitionOffset;

/// The timestamp of the first record at or after an offset, in milliseconds since the epoch; `None`
/// where there is none, or where it cannot be read however often one tries. Blocks up to 25 s.
///
/// # Errors
///
/// [`LogError::Unavailable`] alone.
pub fn first_timestamp(
    log: &dyn EventLog,
    topic: &str,
    at: PartitionOffset,
) -> Result<Option<i64>, LogError> {
    let read = match log.read_from(topic, at) {
        // The records at the offset were deleted: those after them wait.
        Err(LogError::NotFound(_)) => log.range(topic, at.partition).and_then(|range| {
            let at = PartitionOffset::new(at.partition, range.low);
            log.read_from(topic, at)
        }),
        read => read,
    };
    match read {
        Ok(ReadBack::Record(record)) => Ok(Some(record.timestamp_ms).filter(|time| *time >= 0)),
        Ok(ReadBack::End(_)) | Err(LogError::NotFound(_) | LogError::Refused(_)) => Ok(None),
        Err(error @ LogError::Unavailable(_)) => Err(error),
    }
}
