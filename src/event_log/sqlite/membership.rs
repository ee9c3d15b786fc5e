//! Reading as the consumer of a topic.
//!
//! There is one consumer a folder (its role lock sees to that), so it is given every partition, as
//! soon as the topic is there and again when it has changed. The surprising thing: readers belong
//! to the incarnation of the topic that the member was told of, not to the one that is there when
//! they are made. Positions are taken in between, and of a topic that was made anew meanwhile
//! nothing may be read under the old ones.

use std::collections::VecDeque;

use super::*;

/// How often the topic is compared with what the member knows.
const LOOK: Duration = Duration::from_millis(200);

/// What goes wrong again and again is said so often.
const SAY: Duration = Duration::from_secs(1);

pub(super) struct SqliteMembership {
    folder: Arc<Folder>,
    topic: Arc<Topic>,
    known: Option<(TopicId, usize)>,
    events: VecDeque<MembershipEvent>,
    look_at: Instant,
    faults: Faults,
    /// Counts the assignments: readers of an earlier one give nothing more.
    turn: Arc<AtomicU64>,
    teller: Mutex<taken::Teller>,
}

impl SqliteMembership {
    pub(super) fn join(folder: &Arc<Folder>, topic: &str) -> SqliteMembership {
        SqliteMembership {
            folder: folder.clone(),
            topic: folder.topic(topic),
            known: None,
            events: VecDeque::new(),
            look_at: Instant::now(),
            faults: Faults::default(),
            turn: Arc::default(),
            teller: Mutex::new(taken::Teller::new(&folder.path)),
        }
    }

    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK;
        match self.topic.counters() {
            Ok((topic_id, counters)) => self.compare(topic_id, counters.len()),
            Err(trouble) => {
                let error = self.topic.error("read", &trouble);
                let is_gone = matches!(error, LogError::NotFound(_)) && self.known.take().is_some();
                let fault = if is_gone {
                    Some(LogFault::Reset(error.to_string()))
                } else {
                    // Readers say what is damaged; here it is a topic that cannot be given yet.
                    self.faults.say(LogFault::Transient(error.to_string()))
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
        if self
            .known
            .as_ref()
            .is_some_and(|(known, _)| *known != found.0)
        {
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
            if now >= self.look_at {
                self.look();
            } else if now >= until {
                return None;
            } else {
                std::thread::sleep(until.min(self.look_at) - now);
            }
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<Vec<Box<dyn Reader>>, LogError> {
        let turn = self.turn.fetch_add(1, Ordering::AcqRel) + 1;
        let Some((topic_id, _)) = &self.known else {
            return if starts.is_empty() {
                Ok(Vec::new())
            } else {
                Err(LogError::NotFound(self.topic.is_missing()))
            };
        };
        let readers = starts.iter().map(|start| {
            let reader = SqliteReader {
                watched: Watched::new(&self.folder, &self.topic)?,
                topic_id: topic_id.clone(),
                partition: start.partition,
                next: start.offset,
                is_at_end_since: None,
                said_end: false,
                faults: Faults::default(),
                turns: self.turn.clone(),
                turn,
            };
            Ok(Box::new(reader) as Box<dyn Reader>)
        });
        readers.collect()
    }

    fn applied(&self, positions: &[PartitionOffset]) {
        let Some((topic_id, _)) = &self.known else {
            return;
        };
        // Nothing is lost where this is: retention only deletes less.
        let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(trouble) = teller.tell(topic_id, positions) {
            tracing::debug!("positions were not told to the log's retention: {trouble}");
        }
    }
}

struct SqliteReader {
    watched: Watched,
    topic_id: TopicId,
    partition: i32,
    /// Everything below was given.
    next: i64,
    /// The number of the ring after which there was nothing more.
    is_at_end_since: Option<u64>,
    said_end: bool,
    faults: Faults,
    turns: Arc<AtomicU64>,
    turn: u64,
}

impl SqliteReader {
    /// Looks once; `None` where there is nothing to say.
    fn look(&mut self, max_records: usize, max_bytes: usize) -> Option<Fetched> {
        let topic = &self.watched.topic;
        // Before the look: a commit that comes after it rings after this.
        let ring = topic.bells.changes();
        if self.is_at_end_since == Some(ring) {
            return None;
        }
        let from = PartitionOffset::new(self.partition, self.next);
        match topic.records(&self.topic_id, from, max_records.max(1), max_bytes) {
            Ok(Found::Records(records)) => match records.last() {
                Some(last) => {
                    // Given, not stored: where reading begins again is the store's to say.
                    self.next = last.offset + 1;
                    self.said_end = false;
                    Some(Fetched::Records(records))
                }
                None => {
                    self.is_at_end_since = Some(ring);
                    let is_news = !std::mem::replace(&mut self.said_end, true);
                    is_news.then_some(Fetched::End)
                }
            },
            Ok(Found::Elsewhere(why)) => Some(Fetched::Fault(LogFault::Reset(why))),
            Err(trouble) => {
                let fault = topic.fault(&trouble);
                self.faults.say(fault).map(Fetched::Fault)
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
            if self.turns.load(Ordering::Acquire) != self.turn {
                return Fetched::Nothing;
            }
            if let Some(fetched) = self.look(max_records, max_bytes) {
                return fetched;
            }
            let bells = &self.watched.topic.bells;
            let ring = self.is_at_end_since.unwrap_or_else(|| bells.changes());
            if !bells.wait(ring, until) {
                return Fetched::Nothing;
            }
        }
    }

    fn on_ready(&mut self, bell: Box<dyn Fn() + Send + Sync>) {
        self.watched.on_ring(bell);
    }
}

/// Says what passes only so often: whoever reads asks again at once.
#[derive(Default)]
pub(super) struct Faults {
    said: Option<Instant>,
}

impl Faults {
    pub(super) fn say(&mut self, fault: LogFault) -> Option<LogFault> {
        let is_new = self.said.is_none_or(|said| said.elapsed() >= SAY);
        if matches!(fault, LogFault::Transient(_)) && !is_new {
            return None;
        }
        self.said = Some(Instant::now());
        Some(fault)
    }
}
