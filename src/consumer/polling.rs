//! The polling thread: it alone talks to the group, and it alone starts and stops lanes.
//!
//! # Invariants
//!
//! It never waits for the database: a poll every few dozen milliseconds keeps the membership alive
//! however long a lane takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::context::Context;
use super::generation::Generation;
use super::lane::control::{LaneExit, LaneReport};
use super::status::{LOG, PARTITIONS};
use crate::event_log::{LogFault, Membership, MembershipEvent};
use crate::failpoint;
use crate::pipeline::PartitionOffset;
use crate::timeouts::timeouts;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Nothing is reported for so much longer after an assignment: what another program has committed is
/// read before it is replaced.
const REPORT_DELAY: Duration = Duration::from_secs(2);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After leaving the group, how long before it is joined again.
const REJOIN_PAUSE: Duration = Duration::from_secs(1);
const CORRUPT_PAUSE: Duration = Duration::from_secs(2);
const MAX_ABANDONED: usize = 8;
/// After this many clients in a row that delivered nothing although records were there, a supervisor
/// should start a new process.
const MAX_USELESS_CLIENTS: u32 = 3;

pub struct Polling {
    context: Arc<Context>,
    membership: Option<Box<dyn Membership>>,
    /// The partitions of this member; `None` while it has no assignment.
    assigned: Option<Vec<i32>>,
    /// The group knows that this member has its assignment.
    acknowledged: bool,
    generation: Option<Generation>,
    /// Since when the lanes are asked to exit.
    stopping_since: Option<Instant>,
    /// The group is not joined, and no lane started, before this.
    not_before: Instant,
    /// Threads that wait for an answer of the database, perhaps for ever.
    abandoned: Vec<JoinHandle<()>>,
    useless_clients: u32,
    /// What was last reported to the group.
    reported: BTreeMap<i32, i64>,
    reported_at: Instant,
}

impl Polling {
    pub fn new(context: Arc<Context>) -> Polling {
        Polling {
            context,
            membership: None,
            assigned: None,
            acknowledged: false,
            generation: None,
            stopping_since: None,
            not_before: Instant::now(),
            abandoned: Vec::new(),
            useless_clients: 0,
            reported: BTreeMap::new(),
            reported_at: Instant::now(),
        }
    }

    /// Polls until a stop is requested, then lets the lanes finish what is under way.
    pub fn run(mut self) -> anyhow::Result<()> {
        while !self.context.shutdown.is_requested() {
            failpoint::reach(failpoint::Point::InPoll);
            self.context.status.heartbeat.record();
            self.poll()?;
            self.handle_reports()?;
            self.end_generation()?;
            self.start_generation();
            self.report_applied_in_turn();
        }
        self.drain();
        Ok(())
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        if self.membership.is_none() {
            if Instant::now() < self.not_before {
                self.context.shutdown.wait_timeout(POLL_INTERVAL);
                return Ok(());
            }
            let settings = &self.context.settings;
            let log = &self.context.log;
            let joined = log.join(&settings.group, &settings.topics.orders);
            self.membership = Some(joined.context("could not join the consumer group")?);
        }
        let event = self
            .membership
            .as_mut()
            .and_then(|it| it.poll(POLL_INTERVAL));
        match event {
            Some(MembershipEvent::Assigned(partitions)) => self.handle_assigned(partitions),
            Some(MembershipEvent::Revoked) => self.handle_revoked(),
            Some(MembershipEvent::Fault(fault)) => self.handle_fault(fault)?,
            None => {}
        }
        Ok(())
    }

    fn handle_assigned(&mut self, partitions: Vec<i32>) {
        let Context {
            settings, status, ..
        } = &*self.context;
        tracing::info!(group = %settings.group, "assigned partitions {partitions:?}");
        if partitions.is_empty() {
            status.healthy(PARTITIONS, "other members of the group have them all");
        } else {
            status.healthy(PARTITIONS, format!("assigned {partitions:?}"));
        }
        status.rebalances.inc();
        self.context.clear_past_end();
        self.context.progress.assign(&partitions);
        self.reported_at = Instant::now() + REPORT_DELAY;
        self.acknowledged = false;
        self.assigned = Some(partitions);
        self.request_stop();
    }

    fn handle_revoked(&mut self) {
        let Context {
            settings, status, ..
        } = &*self.context;
        tracing::info!(group = %settings.group, "partitions revoked");
        status.unhealthy(PARTITIONS, "none assigned by the group yet");
        self.context.progress.assign(&[]);
        self.assigned = None;
        self.request_stop();
    }

    fn handle_fault(&mut self, fault: LogFault) -> anyhow::Result<()> {
        match fault {
            LogFault::Transient(reason) => {
                tracing::debug!("log: {reason}");
                if self.assigned.is_none() {
                    // A group that does not admit this member is not an outage that passes.
                    let detail = format!("not in the group: {reason}");
                    self.context.status.unhealthy(PARTITIONS, detail);
                }
            }
            LogFault::Reset(reason) => {
                // Every record out of turn is a fault of its own; once a generation is enough.
                if self.stopping_since.is_none() {
                    tracing::warn!("reacquiring the partitions: {reason}");
                }
                self.request_stop();
            }
            LogFault::Corrupt(reason) => self.handle_corrupt(&reason),
            LogFault::Fatal(reason) => self.reconnect(&reason)?,
        }
        Ok(())
    }

    fn handle_reports(&mut self) -> anyhow::Result<()> {
        while let Some(generation) = &self.generation
            && let Ok(report) = generation.reports.try_recv()
        {
            match report {
                LaneReport::Acquired { lane, starts } => self.start_reading(lane, starts),
                LaneReport::Exited(exit) => self.handle_exit(exit)?,
            }
        }
        Ok(())
    }

    /// When every lane has acquired its partitions, all of them are read, from exactly the positions
    /// in the store: what is below is stored, what is above has not been delivered to any lane.
    fn start_reading(&mut self, lane: usize, starts: Vec<PartitionOffset>) {
        let (Some(generation), Some(membership)) = (&mut self.generation, &mut self.membership)
        else {
            return;
        };
        let Some(starts) = generation.acquired(lane, starts) else {
            return;
        };
        if self.stopping_since.is_some() {
            return;
        }
        match membership.assign(&starts) {
            Ok(readers) => generation.distribute(readers),
            Err(error) => {
                self.context.status.unhealthy(LOG, error);
                self.not_before = Instant::now() + REJOIN_PAUSE;
                self.request_stop();
            }
        }
    }

    fn handle_exit(&mut self, exit: LaneExit) -> anyhow::Result<()> {
        match exit {
            LaneExit::Stopped => {}
            LaneExit::Reacquire(reason) => tracing::warn!("reacquiring the partitions: {reason}"),
            LaneExit::Corrupt(reason) => self.handle_corrupt(&reason),
            // Partitions that the group moved are acquired by their new member a moment before this
            // one sees the revocation; and a client that delivers nothing is reported by several lanes.
            LaneExit::Fenced(_) | LaneExit::Stalled(_) if self.stopping_since.is_some() => {}
            LaneExit::Stalled(reason) => self.reconnect(&reason)?,
            LaneExit::Fenced(None) => {
                tracing::warn!("reacquiring the partitions: the position in the store was moved");
            }
            LaneExit::Fenced(Some(holder)) if holder.group != self.context.settings.group => bail!(
                "another consumer group stores this log into the same database: {holder}; \
                 stop one of the two, or give them the same KAFKA_GROUP"
            ),
            LaneExit::Fenced(Some(holder)) => {
                // Never acquired again at once: the group decides who reads.
                tracing::warn!("rejoining the group: another consumer took over: {holder}");
                self.leave();
            }
        }
        self.request_stop();
        Ok(())
    }

    fn handle_corrupt(&mut self, reason: &str) {
        self.context.set_corrupt(reason);
        self.not_before = Instant::now() + CORRUPT_PAUSE;
        self.request_stop();
    }

    /// Makes a new client: this one has failed for good, or delivers nothing although records are
    /// there.
    fn reconnect(&mut self, reason: &str) -> anyhow::Result<()> {
        tracing::warn!("reconnecting to the log: {reason}");
        if self.context.take_delivered() {
            self.useless_clients = 0;
        }
        self.useless_clients += 1;
        if self.useless_clients > MAX_USELESS_CLIENTS {
            bail!("{MAX_USELESS_CLIENTS} clients of the log in a row delivered nothing: {reason}");
        }
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        self.assigned = None;
        self.request_stop();
        self.membership = None;
        self.not_before = Instant::now() + REJOIN_PAUSE;
    }

    fn request_stop(&mut self) {
        if let (Some(generation), None) = (&self.generation, self.stopping_since) {
            generation.stop();
            self.stopping_since = Some(Instant::now());
        }
    }

    /// Ends the generation when its lanes have exited; lanes that wait for the database are abandoned.
    /// Those can do no harm: the next generation's owner fences them.
    fn end_generation(&mut self) -> anyhow::Result<()> {
        let Some(generation) = &self.generation else {
            return Ok(());
        };
        let (running, stuck) = (generation.running(), generation.stuck());
        let Some(since) = self.stopping_since else {
            if stuck > 0 {
                let timeout = timeouts().lane;
                tracing::warn!(
                    "abandoning {stuck} lane(s): no answer from the database for {timeout:?}"
                );
                self.context.shrink_batches();
                self.request_stop();
            }
            return Ok(());
        };
        if running == 0 {
            self.generation = None;
            self.stopping_since = None;
            self.context.status.clear_partitions();
        } else if running == stuck || since.elapsed() > timeouts().lane {
            self.abandon_lanes()?;
        }
        Ok(())
    }

    fn abandon_lanes(&mut self) -> anyhow::Result<()> {
        if let Some(generation) = self.generation.take() {
            self.abandoned.extend(generation.into_running());
        }
        self.stopping_since = None;
        self.abandoned.retain(|thread| !thread.is_finished());
        if self.abandoned.len() > MAX_ABANDONED {
            bail!(
                "{} threads wait for a database that does not answer: giving up, start again",
                self.abandoned.len()
            );
        }
        // They keep readers of this client; the next generation gets one of its own.
        self.leave();
        Ok(())
    }

    fn start_generation(&mut self) {
        if self.generation.is_some() || Instant::now() < self.not_before {
            return;
        }
        let (Some(partitions), Some(membership)) = (&self.assigned, &mut self.membership) else {
            return;
        };
        if partitions.is_empty() && self.acknowledged {
            return;
        }
        let status = &self.context.status;
        // Nothing is fetched while it is being decided where to read; and the group gets its answer,
        // also to an empty assignment: a member that never answers is never assigned anything again.
        if let Err(error) = membership.assign(&[]) {
            status.unhealthy(LOG, error);
            return;
        }
        self.acknowledged = true;
        if partitions.is_empty() {
            return;
        }
        status.partition_acquisitions.inc();
        for partition in partitions {
            status.acquiring(*partition);
        }
        self.generation = Some(Generation::start(&self.context, partitions));
    }

    fn report_applied_in_turn(&mut self) {
        if self.reported_at.elapsed() >= REPORT_INTERVAL {
            self.reported_at = Instant::now();
            self.report_applied();
        }
    }

    /// Shows the positions to the ecosystem's lag tools. They moved in the store already; these
    /// offsets are never read back.
    fn report_applied(&mut self) {
        let (Some(membership), Some(assigned)) = (&self.membership, &self.assigned) else {
            return;
        };
        let applied = self.context.applied();
        let changed: Vec<PartitionOffset> = applied
            .iter()
            .filter(|(partition, next)| {
                assigned.contains(partition) && self.reported.get(partition) != Some(next)
            })
            .map(|(partition, next)| PartitionOffset::new(*partition, *next))
            .collect();
        if !changed.is_empty() {
            membership.applied(&changed);
            self.reported = applied;
        }
    }

    /// Lets the transactions under way finish, reports to the group, leaves it.
    fn drain(&mut self) {
        self.request_stop();
        let until = Instant::now() + DRAIN_TIMEOUT;
        while let Some(generation) = &self.generation {
            if generation.running() == 0 || Instant::now() >= until {
                break;
            }
            if let Some(membership) = &mut self.membership {
                membership.poll(POLL_INTERVAL);
            }
        }
        self.report_applied();
        self.membership = None;
    }
}
