//! Lookups: an API instance asks for a uid that it does not have, and gets an answer that is final,
//! or that says how far behind it may be.
//!
//! The ends of `orders` are taken first, then rows and positions are read in one snapshot. Only a
//! consumer whose positions reach those ends knows that there is no such order; otherwise an absent
//! uid is looked for again after each commit, until its deadline. Answers may be lost: whoever asked
//! asks again.

use std::time::{Duration, Instant};

use self::question::{Lookup, parse};
use super::Context;
use super::status::LOOKUPS;
use crate::event_log::{
    Durability, Fetched, LogFault, Membership, MembershipEvent, NewRecord, Reader, TopicEnds,
};
use crate::pipeline::{ACCEPTED_AT, Lag, PartitionOffset, Record, lag, time};
use crate::store::{Answer, Answers, OrderStore, Position, StoredOrder};

mod question;

const MAX_KEPT: usize = 10_000;
/// How many uids one query asks for.
const MAX_ASKED: usize = 500;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
const MAX_BYTES: usize = 1024 * 1024;

/// Where the answer comes from: `<topic id>/<partition>/<offset>`.
pub const SOURCE: &str = "source";
/// How many records the answer may be behind the log.
pub const BEHIND: &str = "behind";
/// The uid is only a dead letter, at `<topic>/<partition>/<offset>`.
pub const DEAD_LETTERED: &str = "dead-lettered";

/// Serves lookups until a stop is requested, through every outage.
pub fn run(context: &std::sync::Arc<Context>) {
    while !context.shutdown.is_requested() {
        let settings = &context.settings;
        match context
            .log
            .join(&settings.lookup_group, &settings.topics.lookup)
        {
            Ok(membership) => Lookups::new(context.clone(), membership).serve(),
            Err(error) => context.status.ill(LOOKUPS, error.to_string()),
        }
        context.shutdown.wait_timeout(TROUBLE_PAUSE);
    }
}

struct Lookups {
    context: std::sync::Arc<Context>,
    membership: Box<dyn Membership>,
    readers: Vec<Box<dyn Reader>>,
    store: Option<Box<dyn OrderStore>>,
    kept: Vec<Lookup>,
    look_at: Instant,
}

impl Lookups {
    fn new(context: std::sync::Arc<Context>, membership: Box<dyn Membership>) -> Lookups {
        Lookups {
            context,
            membership,
            readers: Vec::new(),
            store: None,
            kept: Vec::new(),
            look_at: Instant::now(),
        }
    }

    /// Returns when the membership must be built anew.
    fn serve(mut self) {
        while !self.context.shutdown.is_requested() {
            if let Some(event) = self.membership.poll(Duration::ZERO)
                && !self.heed(event)
            {
                return;
            }
            let Some(arrived) = self.receive() else {
                return;
            };
            if !self.kept.is_empty() && (arrived || Instant::now() >= self.look_at) {
                self.answer_kept();
            }
            let wait = if self.kept.is_empty() {
                LOOK_AGAIN
            } else {
                self.look_at.saturating_duration_since(Instant::now())
            };
            self.context.committed.wait(wait);
            if !self.kept.is_empty() {
                // Rung: something was committed or arrived. Or the time has come.
                self.look_at = self.look_at.min(Instant::now());
            }
        }
    }

    /// `false` when this client is of no use any more.
    fn heed(&mut self, event: MembershipEvent) -> bool {
        match event {
            MembershipEvent::Assigned(partitions) => self.read(&partitions),
            MembershipEvent::Revoked => {
                self.readers.clear();
                true
            }
            MembershipEvent::Fault(fault) => {
                tracing::debug!("lookups: {fault:?}");
                matches!(fault, LogFault::Transient(_))
            }
        }
    }

    /// Reads from the end on: an older lookup is asked again by whoever still waits.
    fn read(&mut self, partitions: &[i32]) -> bool {
        if partitions.is_empty() {
            self.context
                .status
                .well(LOOKUPS, "another member of the group answers");
            // The group waits for this answer; without it, it never gives us anything again.
            self.readers.clear();
            return self.membership.assign(&[]).is_ok();
        }
        let topic = &self.context.settings.topics.lookup;
        let starts = self.context.log.ends(topic).map(|ends| {
            let start = |partition: &i32| {
                let end = ends.highs.get(*partition as usize)?;
                Some(PartitionOffset::new(*partition, *end))
            };
            partitions.iter().filter_map(start).collect::<Vec<_>>()
        });
        match starts.and_then(|starts| self.membership.assign(&starts)) {
            Ok(readers) => {
                self.readers = readers;
                for reader in &mut self.readers {
                    let context = self.context.clone();
                    reader.on_ready(Box::new(move || context.committed.ring()));
                }
                self.context.status.well(LOOKUPS, "answering");
                true
            }
            Err(error) => {
                self.context.status.ill(LOOKUPS, error.to_string());
                false
            }
        }
    }

    /// Takes what has arrived and says whether there was something; `None` when this client is of no
    /// use any more: after a reset it would never deliver again.
    fn receive(&mut self) -> Option<bool> {
        let mut arrived = false;
        for at in 0..self.readers.len() {
            match self.readers[at].next(MAX_ASKED, MAX_BYTES, Duration::ZERO) {
                Fetched::Records(records) => {
                    for record in records {
                        arrived |= self.keep(record);
                    }
                }
                Fetched::Fault(LogFault::Transient(_)) | Fetched::Nothing | Fetched::End => {}
                Fetched::Fault(fault) => {
                    self.context.status.ill(
                        LOOKUPS,
                        format!("building a new client of the log: {fault:?}"),
                    );
                    return None;
                }
            }
        }
        Some(arrived)
    }

    fn keep(&mut self, record: Record) -> bool {
        let lookup = parse(record).filter(|lookup| lookup.deadline_us > time::now_us());
        let Some(lookup) = lookup.filter(|_| self.kept.len() < MAX_KEPT) else {
            // Malformed, late, or one too many: the API asks again while somebody waits.
            self.context.status.lookups_dropped.inc();
            return false;
        };
        tracing::info!("LOOKUP RECEIVED order_uid={} action=query-db", lookup.uid);
        let again = |kept: &&mut Lookup| kept.uid == lookup.uid && kept.headers_match(&lookup);
        match self.kept.iter_mut().find(again) {
            // Asked again while somebody waits: one answer will do.
            Some(kept) => kept.deadline_us = lookup.deadline_us,
            None => self.kept.push(lookup),
        }
        true
    }

    fn answer_kept(&mut self) {
        let now = time::now_us();
        let before = self.kept.len();
        self.kept.retain(|lookup| lookup.deadline_us > now);
        self.context
            .status
            .lookups_dropped
            .inc_by((before - self.kept.len()) as u64);
        let mut lookups = std::mem::take(&mut self.kept);
        while !lookups.is_empty() {
            let mut asked: Vec<Lookup> = lookups.drain(..lookups.len().min(MAX_ASKED)).collect();
            if let Err(reason) = self.answer(&mut asked) {
                tracing::debug!("lookups wait: {reason}");
                self.kept.append(&mut asked);
                self.kept.append(&mut lookups);
                self.look_at = Instant::now() + TROUBLE_PAUSE;
                return;
            }
            self.kept.append(&mut asked);
        }
        self.look_at = Instant::now() + LOOK_AGAIN;
    }

    /// Answers what can be answered and leaves the rest in `asked`.
    fn answer(&mut self, asked: &mut Vec<Lookup>) -> Result<(), String> {
        let context = self.context.clone();
        let log_id = context
            .watch
            .topic()
            .ok_or("the topic is not known yet")?
            .log_id
            .clone();
        // Before the snapshot: whatever was acknowledged before these lookups is below these ends.
        let topic = &context.settings.topics.orders;
        let ends = context.log.ends(topic).map_err(|error| error.to_string())?;
        let uids: Vec<&str> = asked.iter().map(|lookup| lookup.uid.as_str()).collect();
        for lookup in asked.iter().filter(|lookup| !lookup.told) {
            tracing::info!("DB QUERY order_uid={}", lookup.uid);
        }
        let Answers { answers, positions } = self.query(&log_id, &uids)?;
        let lag = lag_of(&ends, &positions);
        let mut behind = lag.records_behind();
        if behind == Some(0) && lag.is_past_end() {
            // Progress since the ends were asked for, or a truncated log.
            let again = context.log.ends(topic).map_err(|error| error.to_string())?;
            let lag = lag_of(&again, &positions);
            behind = lag.records_behind().filter(|_| !lag.is_past_end());
        }
        let mut kept = Vec::new();
        for (mut lookup, answer) in std::mem::take(asked).into_iter().zip(answers) {
            self.tell(&mut lookup, &answer);
            let final_answer = behind == Some(0);
            match answer {
                Answer::Stored(stored) => self.publish(&lookup, Some(&stored), behind, None),
                Answer::Absent if final_answer => self.publish(&lookup, None, behind, None),
                Answer::DeadLettered { place } if final_answer => {
                    self.publish(&lookup, None, behind, Some(&place));
                }
                // It may be among the records that are not stored yet.
                Answer::Absent | Answer::DeadLettered { .. } => kept.push(lookup),
            }
        }
        *asked = kept;
        Ok(())
    }

    fn query(&mut self, log_id: &str, uids: &[&str]) -> Result<Answers, String> {
        let store = match &mut self.store {
            Some(store) => store,
            empty => empty.insert(self.context.store.connect().map_err(|e| e.to_string())?),
        };
        store.answers(log_id, uids).map_err(|error| {
            self.store = None;
            error.to_string()
        })
    }

    fn tell(&self, lookup: &mut Lookup, answer: &Answer) {
        if !std::mem::replace(&mut lookup.told, true) || matches!(answer, Answer::Stored(_)) {
            let found = if matches!(answer, Answer::Stored(_)) {
                "FOUND"
            } else {
                "MISS"
            };
            tracing::info!("DB {found} order_uid={}", lookup.uid);
        }
    }

    fn publish(
        &self,
        lookup: &Lookup,
        stored: Option<&StoredOrder>,
        behind: Option<i64>,
        dead_lettered: Option<&str>,
    ) {
        let mut ours: Vec<(&str, String)> = Vec::new();
        if let Some(stored) = stored {
            if let Some(source) = &stored.source {
                ours.push((SOURCE, source.to_string()));
            }
            if let Some(accepted_at_us) = stored.accepted_at_us {
                ours.push((ACCEPTED_AT, accepted_at_us.to_string()));
            }
            if behind != Some(0) {
                // Unknown counts as one: the API must not take it for final.
                ours.push((BEHIND, behind.unwrap_or(1).max(1).to_string()));
            }
        }
        if let Some(place) = dead_lettered {
            ours.push((DEAD_LETTERED, place.into()));
        }
        let mut headers: Vec<(&str, &[u8])> = lookup
            .headers
            .iter()
            .map(|(name, value)| (&**name, value.as_ref()))
            .collect();
        headers.extend(ours.iter().map(|(name, value)| (*name, value.as_bytes())));
        let body = stored.map(|stored| stored.order.encode());
        let record = NewRecord {
            topic: &self.context.settings.topics.found,
            key: lookup.uid.as_bytes(),
            value: body.as_deref(),
            headers: &headers,
        };
        match self.context.log.append(Durability::BestEffort, record) {
            Ok(_) => {
                self.context.status.lookups_answered.inc();
                tracing::info!("published order-found for {}", lookup.uid);
            }
            // Lost, which an answer may be: it is asked for again.
            Err(error) => tracing::warn!("order-found for {} was not sent: {error}", lookup.uid),
        }
    }
}

fn lag_of(ends: &TopicEnds, positions: &[Position]) -> Lag {
    let highs = ends.highs.iter().copied();
    lag(&ends.topic_id, highs, positions.iter().map(Position::next))
}
