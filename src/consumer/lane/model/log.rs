//! The log of the model: one partition, every incarnation it ever had.
//!
//! Owns what Kafka does to records (transactions, compaction, retention, truncation, a recreated
//! topic) and what a reading client sees of it. Nothing is dropped: what a zombie still holds can be
//! looked up after the topic is gone.

use bytes::Bytes;

use super::script::Kind;
use crate::event_log::{LogFault, OffsetRange, ReadBack, TopicState};
use crate::pipeline::{Record, TopicId};

pub const LOG_ID: &str = "cluster/orders";
pub const UIDS: [&str; 4] = ["a", "b", "c", "d"];
/// The database refuses orders with this entry, while it refuses.
pub const REFUSED_ENTRY: &str = "REFUSED";

const ORDER: &str = include_str!("../../../../examples/test_order.json");
const UNCOMMITTED: i64 = i64::MAX;

/// What is at an offset.
#[derive(Clone, Debug)]
pub enum Slot {
    Record(Box<Fact>),
    /// A transaction marker, or what compaction or an aborted transaction left.
    Empty,
}

/// A record and what the model must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub record: Record,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Order {
        uid: &'static str,
        version: u32,
        refusable: bool,
    },
    Broken,
}

impl Fact {
    pub fn uid(&self) -> Option<&'static str> {
        match self.content {
            Content::Order { uid, .. } => Some(uid),
            Content::Broken => None,
        }
    }
}

/// One incarnation of the topic.
#[derive(Debug)]
struct Incarnation {
    topic_id: TopicId,
    low: i64,
    slots: Vec<Slot>,
    /// Where an open transaction begins: nothing from there on is delivered.
    open: i64,
}

impl Incarnation {
    fn high(&self) -> i64 {
        self.slots.len() as i64
    }

    fn end(&self) -> i64 {
        self.high().min(self.open)
    }

    fn at(&self, offset: i64) -> Option<&Fact> {
        if !(self.low..self.end()).contains(&offset) {
            return None;
        }
        match &self.slots[offset as usize] {
            Slot::Record(fact) => Some(fact),
            Slot::Empty => None,
        }
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Log {
    incarnations: Vec<Incarnation>,
    /// Where it was truncated, in turn: clients that had read further are told.
    cuts: Vec<i64>,
    /// This incarnation was truncated: the evidence must stay, since a database that is restored has
    /// yet to notice it.
    pub keeps_evidence: bool,
    versions: u32,
    /// Microseconds; what a producer says never goes back inside an incarnation.
    accepted_at_us: i64,
}

impl Log {
    pub fn new() -> Log {
        let mut log = Log::default();
        log.recreate(&[]);
        log
    }

    fn now(&self) -> &Incarnation {
        self.incarnations
            .last()
            .expect("there is one from the start")
    }

    fn now_mut(&mut self) -> &mut Incarnation {
        self.incarnations
            .last_mut()
            .expect("there is one from the start")
    }

    pub fn topic_id(&self) -> &TopicId {
        &self.now().topic_id
    }

    pub fn low(&self) -> i64 {
        self.now().low
    }

    pub fn state(&self) -> TopicState {
        let now = self.now();
        TopicState {
            log_id: LOG_ID.into(),
            topic_id: now.topic_id.clone(),
            highs: vec![now.high()],
        }
    }

    pub fn range(&self) -> OffsetRange {
        let now = self.now();
        OffsetRange {
            low: now.low,
            high: now.high(),
        }
    }

    /// What can be read at that offset of that incarnation.
    pub fn readable(&self, topic_id: &TopicId, offset: i64) -> Option<&Fact> {
        self.incarnations
            .iter()
            .find(|incarnation| incarnation.topic_id == *topic_id)
            .and_then(|incarnation| incarnation.at(offset))
    }

    /// All that can be read now.
    pub fn records(&self) -> impl Iterator<Item = &Fact> {
        let now = self.now();
        (now.low..now.end()).filter_map(|offset| now.at(offset))
    }

    /// As `EventLog::read_from`; `None` where the offset is out of range.
    pub fn read_from(&self, offset: i64) -> Option<ReadBack> {
        let now = self.now();
        if offset >= now.end() {
            return Some(ReadBack::End(now.end()));
        }
        if offset < now.low {
            return None;
        }
        let found = (offset..now.end()).find_map(|offset| now.at(offset));
        Some(found.map_or(ReadBack::End(now.end()), |fact| {
            ReadBack::Record(fact.record.clone())
        }))
    }

    pub fn was_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Whether it was ever truncated or recreated.
    pub fn has_changed(&self) -> bool {
        self.was_cut() || self.incarnations.len() > 1
    }

    pub fn append(&mut self, kind: Kind) {
        let slot = match kind {
            Kind::Marker if !self.keeps_evidence => Slot::Empty,
            Kind::Marker => Slot::Record(Box::new(self.fact(Kind::Good(0)))),
            other => Slot::Record(Box::new(self.fact(other))),
        };
        self.now_mut().slots.push(slot);
    }

    fn fact(&mut self, kind: Kind) -> Fact {
        self.versions += 1;
        self.accepted_at_us += 1;
        let version = self.versions;
        let order = |uid: &str, entry: &str| {
            let order = ORDER
                .replacen("b563feb7b2b84b6test", uid, 1)
                .replacen("WBILMTESTTRACK", &version.to_string(), 1)
                .replacen("\"WBIL\"", &format!("\"{entry}\""), 1);
            Some(Bytes::from(order))
        };
        let uid = |at: u8| UIDS[usize::from(at) % UIDS.len()];
        let (content, value) = match kind {
            Kind::Good(at) | Kind::Refused(at) => {
                let refusable = matches!(kind, Kind::Refused(_));
                let entry = if refusable { REFUSED_ENTRY } else { "WBIL" };
                let content = Content::Order {
                    uid: uid(at),
                    version,
                    refusable,
                };
                (content, order(uid(at), entry))
            }
            Kind::Poison => (Content::Broken, Some(format!("{{{version}").into())),
            Kind::Tombstone | Kind::Marker => (Content::Broken, None),
        };
        let accepted_at = self.accepted_at_us.to_string();
        Fact {
            record: Record {
                offset: self.now().high(),
                timestamp_ms: i64::from(version),
                value,
                headers: vec![("accepted-at".into(), accepted_at.into())],
                ..Record::default()
            },
            content,
        }
    }

    /// Begins a transaction, or ends the open one, whose records vanish if it is aborted.
    pub fn transaction(&mut self, commit: bool) {
        let now = self.now_mut();
        if now.open == UNCOMMITTED {
            now.open = now.high();
            return;
        }
        if !commit {
            let from = now.open as usize;
            now.slots[from..].fill(Slot::Empty);
        }
        now.open = UNCOMMITTED;
        now.slots.push(Slot::Empty);
    }

    pub fn commit(&mut self) {
        if self.now().open != UNCOMMITTED {
            self.transaction(true);
        }
    }

    /// Deletes the topic, creates and fills it again, perhaps with a copy that has older accept times.
    pub fn recreate(&mut self, kinds: &[Kind]) {
        self.accepted_at_us = (self.accepted_at_us - 3).max(1_000);
        self.keeps_evidence = false;
        self.incarnations.push(Incarnation {
            topic_id: format!("topic-{}", self.incarnations.len()).into(),
            low: 0,
            slots: Vec::new(),
            open: UNCOMMITTED,
        });
        for kind in kinds {
            self.append(*kind);
        }
    }

    /// The newest records are lost and others take their place.
    pub fn cut(&mut self, records: u8, kinds: &[Kind]) {
        let now = self.now_mut();
        let end = (now.end() - i64::from(records)).max(now.low);
        now.open = UNCOMMITTED;
        now.slots.truncate(end as usize);
        self.cuts.push(end);
        self.keeps_evidence = true;
        for kind in kinds {
            self.append(*kind);
        }
    }

    /// The oldest records are deleted.
    pub fn retain(&mut self, records: u8) {
        let now = self.now_mut();
        now.low = (now.low + i64::from(records)).min(now.end());
    }

    /// Compaction removes one record, never the last: that is the newest of its key.
    pub fn compact(&mut self, at: u8) {
        let now = self.now_mut();
        let last = (now.low..now.end())
            .rev()
            .find(|offset| now.at(*offset).is_some());
        if let Some(last) = last.filter(|last| *last > now.low) {
            let offset = now.low + i64::from(at) % (last - now.low);
            now.slots[offset as usize] = Slot::Empty;
        }
    }
}

/// What a reading client remembers. It knows the topic by name, so it continues a recreated one at its
/// old offset without an error.
pub struct Cursor {
    next: i64,
    cuts_seen: usize,
    reported_end: i64,
}

impl Cursor {
    pub fn new(log: &Log, start: i64) -> Cursor {
        Cursor {
            next: start,
            cuts_seen: log.cuts.len(),
            reported_end: -1,
        }
    }

    /// The next records, at most that many; `Ok(None)` once at each end.
    pub fn next(&mut self, log: &Log, limit: usize) -> Result<Option<Vec<Fact>>, LogFault> {
        let cut = log.cuts[self.cuts_seen..]
            .iter()
            .any(|end| *end < self.next);
        self.cuts_seen = log.cuts.len();
        let now = log.now();
        if cut || !(now.low..=now.high()).contains(&self.next) {
            return Err(LogFault::Reset("the offset is out of range".into()));
        }
        let mut facts = Vec::new();
        while facts.len() < limit && self.next < now.end() {
            facts.extend(now.at(self.next).cloned());
            self.next += 1;
        }
        if facts.is_empty() && self.reported_end != now.end() {
            self.reported_end = now.end();
            return Ok(None);
        }
        Ok(Some(facts))
    }

    /// The client moves past a record without delivering it.
    pub fn skip(&mut self, log: &Log) {
        if self.next < log.now().end() {
            self.next += 1;
        }
    }
}
