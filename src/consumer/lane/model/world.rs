//! The world around a lane: one log, one database, and the script of what happens to them.
//!
//! Everything runs in one thread. A call of a lane to the log or the store, and every wait, is a
//! *moment* at which the script may act: so anything may happen between any two steps of the lane.
//! Another consumer that takes over is a second lane that runs to its exit inside the call of the
//! first, which continues afterwards as the zombie it has become.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::ledger::Ledger;
use super::log::{Fact, Log};
use super::process::{Process, Watching};
use super::script::{Event, LogFailure, Script, StoreFailure};
use crate::consumer::acquire::AcceptedGap;
use crate::consumer::clock::SimulatedClock;
use crate::consumer::lane::control::LaneControl;
use crate::store::memory::Tables;

/// No script needs more moments than this when the consumer makes progress.
const MAX_MOMENTS: u32 = 20_000;
/// An event that fits no call for this long is dropped: the lane may be waiting for the last one.
const MAX_WAIT: u32 = 400;
/// So many lanes may be inside one another.
const MAX_DEPTH: usize = 3;

/// What a lane does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It asks its reader for records.
    Next,
    /// It asks the log something else.
    Ask,
    Store,
    Waiting,
}

/// How the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Go,
    /// The process is dead: the call is never made.
    Killed,
    Away,
    Store(StoreFailure),
    Log(LogFailure),
}

/// See the module's head.
pub struct World(Mutex<State>);

/// All there is.
#[derive(Default)]
pub struct State {
    pub log: Log,
    pub tables: Tables,
    pub ledger: Ledger,
    /// What the database was after each change.
    pub past: Vec<(Tables, Ledger)>,
    script: VecDeque<(u8, Event)>,
    moments: u32,
    /// For how long the next event has not fitted the call.
    waited: u32,
    pub refusing: bool,
    pub database_away: u8,
    pub log_away: u8,
    pub database_generation: u32,
    /// At most so many records are delivered at a time.
    pub limit: Option<u8>,
    pub accepted: Vec<AcceptedGap>,
    /// The lanes that run, the innermost last.
    pub lanes: Vec<Running>,
    pub started: u64,
    /// The call comes from the threads that watch log and database, not from a lane.
    pub watching: bool,
    pub drained: bool,
}

/// A lane that runs.
#[derive(Default)]
pub struct Running {
    pub number: u64,
    pub control: Arc<LaneControl>,
    pub moments_left: Option<u8>,
    pub killed: bool,
    /// Its process is to be started again, with other settings.
    pub restart: bool,
    /// For how many moments it has been unhealthy in a way that an operator must end.
    pub unhealthy_for: u32,
    pub watching: Option<Watching>,
    pub delivered: BTreeMap<i64, Fact>,
    /// The last batch that was refused for an order that supersedes another.
    pub rejected: Option<(i64, i64)>,
    /// Of each order whose commit was answered, whether it was refused.
    pub outcomes: Vec<bool>,
}

impl Running {
    pub fn stop(&self) {
        self.control.stop();
    }
}

impl World {
    pub fn new(script: Script) -> World {
        World(Mutex::new(State {
            log: Log::new(),
            script: script.into(),
            ..State::default()
        }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread only")
    }

    /// A lane does this now: whatever the script has for the moment happens first.
    pub fn moment(self: &Arc<Self>, call: Call) -> Turn {
        SimulatedClock::advance(Duration::from_millis(1));
        if self.state().watching {
            return self.state().reached(call);
        }
        self.state().begin_moment();
        loop {
            let mut state = self.state();
            if state.lane().killed {
                return Turn::Killed;
            }
            let Some(event) = state.due(call) else {
                return state.reached(call);
            };
            match event {
                Event::Store(failure) => return Turn::Store(failure),
                Event::Log(failure) => return Turn::Log(failure),
                Event::TakenOver(moments) => {
                    drop(state);
                    Process::new(self).run_lane(Some(moments));
                }
                other => state.happen(other),
            }
        }
    }
}

impl State {
    pub fn begin_watching(&mut self) -> Option<Watching> {
        let watching = self.lanes.last_mut()?.watching.take();
        self.watching = watching.is_some();
        watching
    }

    pub fn end_watching(&mut self, watching: Watching) {
        self.watching = false;
        self.lane().watching = Some(watching);
    }

    pub fn lane(&mut self) -> &mut Running {
        self.lanes.last_mut().expect("a lane is calling")
    }

    fn begin_moment(&mut self) {
        self.moments += 1;
        assert!(self.moments < MAX_MOMENTS, "the consumer makes no progress");
        self.database_away = self.database_away.saturating_sub(1);
        self.log_away = self.log_away.saturating_sub(1);
        let lane = self.lane();
        match &mut lane.moments_left {
            Some(0) => lane.stop(),
            Some(left) => *left -= 1,
            None => {}
        }
    }

    fn reached(&self, call: Call) -> Turn {
        let away = match call {
            Call::Next | Call::Ask => self.log_away > 0,
            Call::Store => self.database_away > 0,
            Call::Waiting => false,
        };
        if away { Turn::Away } else { Turn::Go }
    }

    /// The next event, if it is due and fits the call. One that only a certain call can meet waits for
    /// that call, but no longer than the lane has something to do.
    fn due(&mut self, call: Call) -> Option<Event> {
        let (moments, event) = self.script.front_mut()?;
        if *moments > 0 {
            *moments -= 1;
            return None;
        }
        let fits = match event {
            Event::Store(_) => call == Call::Store,
            Event::Log(LogFailure::Unavailable | LogFailure::Unreadable | LogFailure::Missing) => {
                call == Call::Ask
            }
            Event::Log(_) => call == Call::Next,
            // While records are being stored no others can take their place (see `Log::cut`), and an
            // operator does nothing while it is being decided where to read.
            Event::Cut(..) => self.lanes.len() == 1 && call == Call::Next,
            Event::Rewind(_) => call == Call::Next,
            Event::TakenOver(_) => self.lanes.len() < MAX_DEPTH,
            _ => true,
        };
        if fits {
            self.waited = 0;
            return self.script.pop_front().map(|(_, event)| event);
        }
        self.waited += 1;
        let is_fault = matches!(event, Event::Store(_) | Event::Log(_));
        if call == Call::Waiting && (is_fault || self.waited > MAX_WAIT) {
            self.script.pop_front();
        }
        None
    }

    fn happen(&mut self, event: Event) {
        let log = &mut self.log;
        match event {
            Event::Append(kinds) => kinds.into_iter().for_each(|kind| log.append(kind)),
            // These would remove the evidence that the log was truncated.
            Event::Transaction { .. } | Event::Compact(_) | Event::Retain(_)
                if log.keeps_evidence => {}
            Event::Transaction { commit } => log.transaction(commit),
            Event::Compact(at) => log.compact(at),
            Event::Retain(records) => log.retain(records),
            Event::Cut(records, kinds) => log.cut(records, &kinds),
            Event::Recreate(kinds) => {
                log.recreate(&kinds);
                // A client needs at least half a second to find the new one.
                SimulatedClock::advance(Duration::from_millis(500));
            }
            Event::DatabaseAway(moments) => self.database_away = moments,
            Event::LogAway(moments) => self.log_away = moments,
            Event::Restore(changes) => self.restore(usize::from(changes)),
            Event::Rewind(records) => self.rewind(i64::from(records)),
            Event::Refuse(refusing) => self.refusing = refusing,
            Event::Killed => self.kill(),
            Event::Stopped => self.lane().stop(),
            Event::Limit(records) => self.limit = Some(records),
            Event::Store(_) | Event::Log(_) | Event::TakenOver(_) => {
                unreachable!("they end or interrupt the moment")
            }
        }
    }

    /// The process of the innermost lane dies.
    pub fn kill(&mut self) {
        let lane = self.lane();
        lane.killed = true;
        lane.stop();
    }

    fn restore(&mut self, changes: usize) {
        let Some(at) = self.past.len().checked_sub(changes + 1) else {
            return;
        };
        self.past.truncate(at + 1);
        (self.tables, self.ledger) = self.past[at].clone();
        self.database_generation += 1;
    }

    fn rewind(&mut self, records: i64) {
        if let (Some(held), Some(position)) =
            (self.tables.positions.first_mut(), &mut self.ledger.position)
        {
            let next = (position.next_offset - records).max(0);
            held.position.next_offset = next;
            position.next_offset = next;
        }
    }

    /// When the script is over nothing more fails, and what is open is closed. Whether it is over.
    pub fn recover(&mut self) -> bool {
        if !self.script.is_empty() {
            return false;
        }
        self.refusing = false;
        self.log.commit();
        true
    }

    pub fn deliver(&mut self, facts: Vec<Fact>) {
        let facts = facts.into_iter().map(|fact| (fact.record.offset, fact));
        self.lane().delivered.extend(facts);
    }
}
