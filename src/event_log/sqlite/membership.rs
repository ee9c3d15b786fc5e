//! Reading as the consumer of a topic.
//!
//! There is one consumer per folder (the role lock ensures it), so it is assigned every partition as
//! soon as the topic exists and again when it has changed.
//!
//! # Invariants
//!
//! - Readers belong to the incarnation of the topic whose assignment the member was given, not to the
//!   one that exists when they are created. Positions are acquired in between, and of a topic that
//!   was recreated meanwhile nothing may be read under the old ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Folder;
use super::consumer_positions::PositionWriter;
use super::notify::Subscription;
use super::topic::{RECREATED, Topic};
use crate::event_log::{Fetched, LogError, LogFault, Membership, MembershipEvent, Reader};
use crate::pipeline::{PartitionOffset, TopicId};
use crate::sync::lock;

/// How often the topic is compared with what the member knows.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How often a transient fault is reported.
const FAULT_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct SqliteMembership {
    folder: Arc<Folder>,
    topic: Arc<Topic>,
    known: Option<(TopicId, usize)>,
    events: VecDeque<MembershipEvent>,
    check_at: Instant,
    faults: FaultLimit,
    /// Counts the assignments: readers of an earlier one return nothing more.
    assignments: Arc<AtomicU64>,
    positions: Mutex<PositionWriter>,
}

impl SqliteMembership {
    pub(super) fn join(folder: &Arc<Folder>, topic: &str) -> SqliteMembership {
        SqliteMembership {
            folder: folder.clone(),
            topic: folder.topic(topic),
            known: None,
            events: VecDeque::new(),
            check_at: Instant::now(),
            faults: FaultLimit::default(),
            assignments: Arc::default(),
            positions: Mutex::new(PositionWriter::new(&folder.path)),
        }
    }

    fn check(&mut self) {
        self.check_at = Instant::now() + CHECK_INTERVAL;
        match self.topic.counters() {
            Ok((topic_id, counters)) => self.compare(topic_id, counters.len()),
            Err(error) => {
                let error = self.topic.error("read", &error);
                let is_gone = matches!(error, LogError::NotFound(_)) && self.known.take().is_some();
                let fault = if is_gone {
                    Some(LogFault::Reset(error.to_string()))
                } else {
                    // Readers report damage; here it is a topic that cannot be assigned yet.
                    self.faults.admit(LogFault::Transient(error.to_string()))
                };
                self.events.extend(fault.map(MembershipEvent::Fault));
            }
        }
    }

    fn compare(&mut self, topic_id: TopicId, partitions: usize) {
        let found = (topic_id, partitions);
        if self.known.as_ref() == Some(&found) {
            return;
        }
        let known = self.known.as_ref();
        if known.is_some_and(|(topic_id, _)| *topic_id != found.0) {
            let fault = LogFault::Reset(RECREATED.into());
            self.events.push_back(MembershipEvent::Fault(fault));
        }
        self.known = Some(found);
        let all = (0..).take(partitions).collect();
        self.events.push_back(MembershipEvent::Assigned(all));
    }
}

impl Membership for SqliteMembership {
    fn poll(&mut self, wait: Duration) -> Option<MembershipEvent> {
        let until = Instant::now() + wait;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let now = Instant::now();
            if now >= self.check_at {
                self.check();
            } else if now >= until {
                return None;
            } else {
                std::thread::sleep(until.min(self.check_at) - now);
            }
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<Vec<Box<dyn Reader>>, LogError> {
        let assignment = self.assignments.fetch_add(1, Ordering::AcqRel) + 1;
        let Some((topic_id, _)) = &self.known else {
            return if starts.is_empty() {
                Ok(Vec::new())
            } else {
                Err(self.topic.not_found())
            };
        };
        let readers = starts.iter().map(|start| {
            let reader = SqliteReader {
                subscription: Subscription::new(&self.folder, &self.topic)?,
                topic_id: topic_id.clone(),
                partition: start.partition,
                next: start.offset,
                at_end_since: None,
                reported_end: false,
                faults: FaultLimit::default(),
                assignments: self.assignments.clone(),
                assignment,
            };
            Ok(Box::new(reader) as Box<dyn Reader>)
        });
        readers.collect()
    }

    fn applied(&self, positions: &[PartitionOffset]) {
        let Some((topic_id, _)) = &self.known else {
            return;
        };
        // Nothing is lost without them: retention only deletes less.
        if let Err(error) = lock(&self.positions).write(topic_id, positions) {
            tracing::debug!("cannot write positions for retention: {error}");
        }
    }
}

struct SqliteReader {
    subscription: Subscription,
    topic_id: TopicId,
    partition: i32,
    /// Everything below was returned.
    next: i64,
    /// The number of the notification after which there was nothing more.
    at_end_since: Option<u64>,
    reported_end: bool,
    faults: FaultLimit,
    assignments: Arc<AtomicU64>,
    assignment: u64,
}

impl SqliteReader {
    /// Reads once; `None` where there is nothing to return.
    fn read(&mut self, max_records: usize, max_bytes: usize) -> Option<Fetched> {
        let topic = &self.subscription.topic;
        // Before reading: a commit that comes later notifies later.
        let sequence = topic.notify.sequence();
        if self.at_end_since == Some(sequence) {
            return None;
        }
        let from = PartitionOffset::new(self.partition, self.next);
        match topic.records(&self.topic_id, from, max_records.max(1), max_bytes) {
            Ok(records) => match records.last() {
                Some(last) => {
                    // Returned, not stored: the store decides where reading begins again.
                    self.next = last.offset + 1;
                    self.reported_end = false;
                    Some(Fetched::Records(records))
                }
                None => {
                    self.at_end_since = Some(sequence);
                    let is_new = !std::mem::replace(&mut self.reported_end, true);
                    is_new.then_some(Fetched::End)
                }
            },
            Err(error) => {
                let fault = topic.fault(error);
                self.faults.admit(fault).map(Fetched::Fault)
            }
        }
    }
}

impl Reader for SqliteReader {
    fn partition(&self) -> i32 {
        self.partition
    }

    fn next(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Fetched {
        let until = Instant::now() + wait;
        loop {
            if self.assignments.load(Ordering::Acquire) != self.assignment {
                return Fetched::Nothing;
            }
            if let Some(fetched) = self.read(max_records, max_bytes) {
                return fetched;
            }
            let notify = &self.subscription.topic.notify;
            let sequence = self.at_end_since.unwrap_or_else(|| notify.sequence());
            if !notify.wait(sequence, until) {
                return Fetched::Nothing;
            }
        }
    }

    fn on_ready(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        self.subscription.on_notify(notify);
    }
}

/// Limits how often transient faults are reported: a reader retries at once.
#[derive(Default)]
pub(super) struct FaultLimit {
    last: Option<Instant>,
}

impl FaultLimit {
    pub(super) fn admit(&mut self, fault: LogFault) -> Option<LogFault> {
        let is_due = self
            .last
            .is_none_or(|last| last.elapsed() >= FAULT_INTERVAL);
        if matches!(fault, LogFault::Transient(_)) && !is_due {
            return None;
        }
        self.last = Some(Instant::now());
        Some(fault)
    }
}
