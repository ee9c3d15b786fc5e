//! The polling thread: it alone talks to the group, and it alone starts and ends rounds.
//!
//! It never waits for the database: a poll every few dozen milliseconds keeps the membership alive
//! however long a lane takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Context;
use super::generation::Generation;
use super::lane::{Ended, Report};
use super::status::{LOG, PARTITIONS};
use crate::event_log::{LogFault, Membership, MembershipEvent};
use crate::failpoint;
use crate::pipeline::PartitionOffset;
use crate::timeouts::timeouts;

const POLL: Duration = Duration::from_millis(20);
const TELL_GROUP_EVERY: Duration = Duration::from_secs(1);
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// A group that took our partitions away gets this long before we ask again.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
const CORRUPT_PAUSE: Duration = Duration::from_secs(2);
const MAX_LEFT_BEHIND: usize = 8;
/// This many clients in a row that delivered nothing although records were there: a supervisor
/// should start a new process.
const MAX_FRUITLESS_CLIENTS: u32 = 3;

pub struct Polling {
    context: Arc<Context>,
    membership: Option<Box<dyn Membership>>,
    /// What the group gave us; `None` before and after.
    assigned: Option<Vec<i32>>,
    /// The group has heard that we know our assignment.
    answered: bool,
    generation: Option<Generation>,
    /// The lanes are asked to end, since then.
    ending: Option<Instant>,
    /// No new round before this.
    not_before: Instant,
    /// Threads that wait for an answer of the database, and may for ever.
    left_behind: Vec<JoinHandle<()>>,
    fruitless_clients: u32,
    told: BTreeMap<i32, i64>,
    told_at: Instant,
}

impl Polling {
    pub fn new(context: Arc<Context>) -> Polling {
        Polling {
            context,
            membership: None,
            assigned: None,
            answered: false,
            generation: None,
            ending: None,
            not_before: Instant::now(),
            left_behind: Vec::new(),
            fruitless_clients: 0,
            told: BTreeMap::new(),
            told_at: Instant::now(),
        }
    }

    /// Polls until a stop is requested, then lets the lanes finish what is under way.
    pub fn run(mut self) -> anyhow::Result<()> {
        while !self.context.shutdown.is_requested() {
            failpoint::reach(failpoint::Point::InPoll);
            self.context.status.beat();
            self.poll()?;
            self.hear_lanes()?;
            self.end_round()?;
            self.start_round();
            self.tell_group();
        }
        self.drain();
        Ok(())
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        if self.membership.is_none() {
            if Instant::now() < self.not_before {
                self.context.shutdown.wait_timeout(POLL);
                return Ok(());
            }
            let settings = &self.context.settings;
            let joined = self
                .context
                .log
                .join(&settings.group, &settings.topics.orders);
            self.membership = Some(joined.context("could not join the consumer group")?);
        }
        let Some(membership) = &mut self.membership else {
            return Ok(());
        };
        match membership.poll(POLL) {
            Some(MembershipEvent::Assigned(partitions)) => {
                tracing::info!(group = %self.context.settings.group, "assigned partitions {partitions:?}");
                if partitions.is_empty() {
                    self.context
                        .status
                        .well(PARTITIONS, "other members of the group have them all");
                } else {
                    self.context
                        .status
                        .well(PARTITIONS, format!("assigned {partitions:?}"));
                }
                self.context.forget_waits();
                self.answered = false;
                self.assigned = Some(partitions);
                self.request_end();
            }
            Some(MembershipEvent::Revoked) => {
                tracing::info!(group = %self.context.settings.group, "partitions revoked");
                self.context
                    .status
                    .ill(PARTITIONS, "none assigned by the group yet");
                self.assigned = None;
                self.request_end();
            }
            Some(MembershipEvent::Fault(LogFault::Transient(reason))) => {
                tracing::debug!("log: {reason}");
                if self.assigned.is_none() {
                    // A group that does not let us in is not an outage that passes.
                    self.context
                        .status
                        .ill(PARTITIONS, format!("not in the group: {reason}"));
                }
            }
            Some(MembershipEvent::Fault(LogFault::Reset(reason))) => {
                // One slip tells itself once a record; once a round is enough.
                if self.ending.is_none() {
                    tracing::warn!("taking the partitions anew: {reason}");
                }
                self.request_end();
            }
            Some(MembershipEvent::Fault(LogFault::Corrupt(reason))) => self.corrupt(&reason),
            Some(MembershipEvent::Fault(LogFault::Fatal(reason))) => {
                self.rebuild(&reason)?;
            }
            None => {}
        }
        Ok(())
    }

    fn hear_lanes(&mut self) -> anyhow::Result<()> {
        while let Some(report) = self
            .generation
            .as_ref()
            .and_then(|generation| generation.reports.try_recv().ok())
        {
            match report {
                Report::Taken { lane, starts } => self.begin_reading(lane, starts),
                Report::Ended(why) => self.lane_ended(why)?,
            }
        }
        Ok(())
    }

    /// When every lane has taken its partitions, all of them are read, from exactly the positions
    /// in the store: what is below is stored, what is above has not been given to anybody.
    fn begin_reading(&mut self, lane: usize, starts: Vec<PartitionOffset>) {
        let Some(generation) = &mut self.generation else {
            return;
        };
        let Some(starts) = generation.taken(lane, starts) else {
            return;
        };
        if self.ending.is_some() {
            return;
        }
        let Some(membership) = &mut self.membership else {
            return;
        };
        match membership.assign(&starts) {
            Ok(readers) => generation.hand_out(readers),
            Err(error) => {
                self.context.status.ill(LOG, error.to_string());
                self.not_before = Instant::now() + REJOIN_AFTER;
                self.request_end();
            }
        }
    }

    fn lane_ended(&mut self, why: Ended) -> anyhow::Result<()> {
        match why {
            Ended::Stopped => {}
            Ended::Retake(reason) => tracing::warn!("taking the partitions anew: {reason}"),
            Ended::Corrupt(reason) => self.corrupt(&reason),
            // Partitions that the group moved elsewhere are taken there a moment before we hear; and
            // one client that went silent has several lanes to say so.
            Ended::Fenced(_) | Ended::Stalled(_) if self.ending.is_some() => {}
            Ended::Stalled(reason) => self.rebuild(&reason)?,
            Ended::Fenced(None) => {
                tracing::warn!("taking the partitions anew: the position in the store has moved");
            }
            Ended::Fenced(Some(holder)) if holder.group != self.context.settings.group => bail!(
                "another consumer group stores this log into the same database: {holder}; \
                 stop one of the two, or give them the same KAFKA_GROUP"
            ),
            Ended::Fenced(Some(holder)) => {
                // Never taken back at once: the group decides who reads.
                tracing::warn!("another consumer has taken over, joining the group anew: {holder}");
                self.leave();
            }
        }
        self.request_end();
        Ok(())
    }

    fn corrupt(&mut self, reason: &str) {
        self.context.damaged(reason);
        self.not_before = Instant::now() + CORRUPT_PAUSE;
        self.request_end();
    }

    /// Builds a new client: this one is dead, or has gone silent although records are there.
    fn rebuild(&mut self, reason: &str) -> anyhow::Result<()> {
        tracing::warn!("building a new client of the log: {reason}");
        if self.context.delivering.swap(false, Ordering::Relaxed) {
            self.fruitless_clients = 0;
        }
        self.fruitless_clients += 1;
        if self.fruitless_clients > MAX_FRUITLESS_CLIENTS {
            bail!(
                "{MAX_FRUITLESS_CLIENTS} clients of the log in a row delivered nothing: {reason}"
            );
        }
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        self.assigned = None;
        self.request_end();
        self.membership = None;
        self.not_before = Instant::now() + REJOIN_AFTER;
    }

    fn request_end(&mut self) {
        if let (Some(generation), None) = (&self.generation, self.ending) {
            generation.stop();
            self.ending = Some(Instant::now());
        }
    }

    /// Ends the round when its lanes have ended; lanes that the database keeps are left behind.
    /// Nothing of theirs can do harm: the next round's owner fences them.
    fn end_round(&mut self) -> anyhow::Result<()> {
        let Some(generation) = &self.generation else {
            return Ok(());
        };
        let stuck = generation.given_up();
        if stuck > 0 && self.ending.is_none() {
            tracing::warn!(
                "{stuck} lane(s) got no answer from the database for {:?}: given up",
                timeouts().lane
            );
            self.context.shrink_batches();
            self.request_end();
            return Ok(());
        }
        let Some(since) = self.ending else {
            return Ok(());
        };
        if generation.has_ended() {
            self.generation = None;
            self.ending = None;
            self.context.status.forget_partitions();
            return Ok(());
        }
        let only_stuck_ones_run = stuck > 0 && stuck == generation.running();
        if only_stuck_ones_run || since.elapsed() > timeouts().lane {
            return self.abandon();
        }
        Ok(())
    }

    fn abandon(&mut self) -> anyhow::Result<()> {
        if let Some(generation) = self.generation.take() {
            self.left_behind.extend(generation.into_running());
        }
        self.ending = None;
        self.left_behind.retain(|thread| !thread.is_finished());
        if self.left_behind.len() > MAX_LEFT_BEHIND {
            bail!(
                "{} threads wait for a database that does not answer: giving up, start anew",
                self.left_behind.len()
            );
        }
        // They keep readers of this client; the next round gets one of its own.
        self.leave();
        Ok(())
    }

    fn start_round(&mut self) {
        if self.generation.is_some() || Instant::now() < self.not_before {
            return;
        }
        let (Some(partitions), Some(membership)) = (&self.assigned, &mut self.membership) else {
            return;
        };
        if partitions.is_empty() && self.answered {
            return;
        }
        // Nothing is fetched while it is being decided from where; and the group is answered, even
        // where it gave us nothing: a member that never answers is never given anything again.
        if let Err(error) = membership.assign(&[]) {
            self.context.status.ill(LOG, error.to_string());
            return;
        }
        self.answered = true;
        if partitions.is_empty() {
            return;
        }
        self.context.status.rounds.inc();
        self.context.status.taking(partitions);
        self.generation = Some(Generation::start(&self.context, partitions));
    }

    /// Lets the ecosystem's lag tools see the positions. They moved in the store already; these
    /// offsets are never read back.
    fn tell_group(&mut self) {
        if self.told_at.elapsed() < TELL_GROUP_EVERY {
            return;
        }
        self.told_at = Instant::now();
        self.tell_applied();
    }

    fn tell_applied(&mut self) {
        let (Some(membership), Some(assigned)) = (&self.membership, &self.assigned) else {
            return;
        };
        let applied = self
            .context
            .applied
            .lock()
            .expect("no thread panics while holding this lock")
            .clone();
        let news: Vec<PartitionOffset> = applied
            .iter()
            .filter(|(partition, next)| {
                assigned.contains(partition) && self.told.get(partition) != Some(next)
            })
            .map(|(partition, next)| PartitionOffset::new(*partition, *next))
            .collect();
        if !news.is_empty() {
            membership.applied(&news);
            self.told = applied;
        }
    }

    /// Lets the transactions under way finish, tells the group, leaves it.
    fn drain(&mut self) {
        self.request_end();
        let until = Instant::now() + DRAIN_WITHIN;
        while let Some(generation) = &self.generation {
            if generation.has_ended() || Instant::now() >= until {
                break;
            }
            if let Some(membership) = &mut self.membership {
                membership.poll(POLL);
            }
        }
        self.tell_applied();
        self.membership = None;
    }
}
