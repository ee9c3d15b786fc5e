//! Reads every record of a topic once, from and to given offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::event_log::{EventLog, Followed, LogError, LogFault};
use crate::pipeline::{PartitionOffset, Record};

/// How long the log may be silent.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

const POLL_WAIT: Duration = Duration::from_millis(500);

/// The offsets of each partition that are still to be read: half-open.
pub(super) type Left = BTreeMap<i32, (i64, i64)>;

/// Calls `each` for every record of these half-open ranges, with how many offsets it moves on. Records
/// that retention deletes meanwhile are passed. Blocks until all are read or until `deadline`, and for
/// 30 s at most without any response of the log. Returns what was not read.
pub(super) fn read_all(
    log: &dyn EventLog,
    topic: &str,
    mut left: Left,
    deadline: Option<Instant>,
    mut each: impl FnMut(Record, u64),
) -> Result<Left, LogError> {
    left.retain(|_, (next, end)| next < end);
    if left.is_empty() {
        return Ok(left);
    }
    let mut follower = log.follow(topic, &starts(&left), Duration::ZERO)?;
    let mut responded_at = Instant::now();
    while !left.is_empty() {
        let wait = deadline.map_or(POLL_WAIT, |deadline| {
            POLL_WAIT.min(deadline.saturating_duration_since(Instant::now()))
        });
        if wait.is_zero() {
            break;
        }
        let Some(followed) = follower.next(wait, &|_, _| false) else {
            if responded_at.elapsed() >= SILENCE_TIMEOUT {
                return Err(silent(topic, None));
            }
            continue;
        };
        match followed {
            Followed::Record(record) => {
                let PartitionOffset { partition, offset } = record.at();
                if let Some((next, end)) = left.get_mut(&partition) {
                    let is_last = offset + 1 >= *end;
                    if offset < *end {
                        let passed = offset + 1 - *next;
                        *next = offset + 1;
                        each(record, passed.unsigned_abs());
                    }
                    if is_last {
                        left.remove(&partition);
                    }
                }
            }
            Followed::Known(_) => {}
            Followed::End(partition) => {
                left.remove(&partition);
            }
            Followed::Fault(LogFault::Transient(reason)) => {
                if responded_at.elapsed() >= SILENCE_TIMEOUT {
                    return Err(silent(topic, Some(reason)));
                }
                continue;
            }
            Followed::Fault(LogFault::Reset(reason)) => {
                if !skip_deleted(log, topic, &mut left)? {
                    return Err(LogError::Refused(format!(
                        "could not read topic `{topic}`: {reason}"
                    )));
                }
                follower.assign(&starts(&left))?;
            }
            Followed::Fault(LogFault::Corrupt(reason) | LogFault::Fatal(reason)) => {
                return Err(LogError::Refused(format!(
                    "could not read topic `{topic}`: {reason}"
                )));
            }
        }
        responded_at = Instant::now();
    }
    Ok(left)
}

fn starts(left: &Left) -> Vec<PartitionOffset> {
    let starts = left.iter();
    starts
        .map(|(partition, (next, _))| PartitionOffset::new(*partition, *next))
        .collect()
}

/// Passes what retention has deleted; whether there was anything.
fn skip_deleted(log: &dyn EventLog, topic: &str, left: &mut Left) -> Result<bool, LogError> {
    let mut has_skipped = false;
    for (partition, (next, _)) in left.iter_mut() {
        let low = log.range(topic, *partition)?.low;
        if low > *next {
            *next = low;
            has_skipped = true;
        }
    }
    left.retain(|_, (next, end)| next < end);
    Ok(has_skipped)
}

fn silent(topic: &str, reason: Option<String>) -> LogError {
    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let seconds = SILENCE_TIMEOUT.as_secs();
    LogError::Unavailable(format!(
        "could not read topic `{topic}`: no response for {seconds} s{reason}"
    ))
}
