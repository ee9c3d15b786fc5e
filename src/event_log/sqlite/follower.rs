//! Reading a whole topic for itself: every API instance must see every record.
//!
//! All partitions are looked at in one snapshot, at most once a `gather` where that was asked for:
//! under load the follower takes records in heaps, and one that comes alone is given at once.

use std::collections::VecDeque;

use super::membership::Faults;
use super::*;

/// How much of a partition one look takes.
const HEAP: i64 = 500;
const HEAP_BYTES: usize = 1 << 20;

pub(super) struct SqliteFollower {
    watched: Watched,
    topic_id: TopicId,
    gather: Duration,
    places: Vec<Place>,
    waiting: VecDeque<Followed>,
    looked_at: Option<Instant>,
    is_at_end_since: Option<u64>,
    faults: Faults,
}

struct Place {
    partition: i32,
    next: i64,
    said_end: bool,
}

impl SqliteFollower {
    pub(super) fn open(
        folder: &Arc<Folder>,
        topic: &str,
        starts: &[PartitionOffset],
        gather: Duration,
    ) -> Result<SqliteFollower, LogError> {
        let topic = folder.topic(topic);
        let topic_id = topic.identity();
        let mut follower = SqliteFollower {
            watched: Watched::new(folder, &topic)?,
            topic_id: topic_id.map_err(|trouble| topic.error("follow", &trouble))?,
            gather,
            places: Vec::new(),
            waiting: VecDeque::new(),
            looked_at: None,
            is_at_end_since: None,
            faults: Faults::default(),
        };
        follower.assign(starts)?;
        Ok(follower)
    }

    /// Takes what there is of every partition; `Some` is why nothing can be read there.
    fn look(&mut self, knows: &Knows<'_>) -> Result<Option<String>, FileError> {
        let (topic_id, places, waiting) = (&self.topic_id, &mut self.places, &mut self.waiting);
        self.watched.topic.read(|open| {
            for place in places {
                let counters = match topic::counters_of(open, topic_id, place.partition)? {
                    Ok(counters) => counters,
                    Err(why) => return Ok(Some(why)),
                };
                let (partition, next) = (place.partition, place.next);
                if let Some(why) = topic::out_of_range(partition, next, counters) {
                    return Ok(Some(why));
                }
                let mut bytes = 0;
                let to = counters.next.min(next.saturating_add(HEAP));
                tables::records(open, partition, (next, to), |row| {
                    let at = PartitionOffset::new(partition, row.offset);
                    waiting.push_back(if knows(at, row.key.unwrap_or_default()) {
                        Followed::Known(at)
                    } else {
                        bytes += row.size();
                        Followed::Record(row.record(partition)?)
                    });
                    place.next = at.offset + 1;
                    place.said_end = false;
                    Some(if bytes < HEAP_BYTES {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    })
                })?;
                if place.next == counters.next && !std::mem::replace(&mut place.said_end, true) {
                    waiting.push_back(Followed::End(partition));
                }
            }
            Ok(None)
        })
    }

    /// Looks, if it is time to: `true` when something may be waiting now.
    fn gather(&mut self, until: Instant, knows: &Knows<'_>) -> bool {
        // Before the look: a commit that comes after it rings after this.
        let ring = self.watched.topic.bells.changes();
        if self.is_at_end_since == Some(ring) {
            return self.watched.topic.bells.wait(ring, until);
        }
        let now = Instant::now();
        let due = self.looked_at.map_or(now, |looked| looked + self.gather);
        if due > now {
            std::thread::sleep(due.min(until).saturating_duration_since(now));
            return due <= until;
        }
        self.looked_at = Some(now);
        let fault = match self.look(knows) {
            Ok(None) => {
                if self.waiting.is_empty() {
                    self.is_at_end_since = Some(ring);
                }
                return true;
            }
            Ok(Some(why)) => LogFault::Reset(why),
            Err(trouble) => self.watched.topic.fault(&trouble),
        };
        match self.faults.say(fault) {
            Some(fault) => {
                self.waiting.push_back(Followed::Fault(fault));
                true
            }
            None => self.watched.topic.bells.wait(ring, until),
        }
    }
}

impl Follower for SqliteFollower {
    fn next(&mut self, wait: Duration, knows: &Knows<'_>) -> Option<Followed> {
        let until = Instant::now() + wait;
        loop {
            if let Some(followed) = self.waiting.pop_front() {
                return Some(followed);
            }
            if !self.gather(until, knows) {
                return None;
            }
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError> {
        let places = starts.iter().map(|start| Place {
            partition: start.partition,
            next: start.offset,
            said_end: false,
        });
        self.places = places.collect();
        self.waiting.clear();
        self.is_at_end_since = None;
        Ok(())
    }
}
