//! The world around a lane: one log, one database, and the script of what befalls them.
//!
//! Everything runs in one thread. A call of a lane to the log or the store, and every moment it
//! waits, is a *moment* in which the script may act: so anything may happen between any two steps of
//! the lane. Another consumer that takes over is a second lane that runs to its end inside the call
//! of the first, which goes on afterwards as the zombie it has become.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::ledger::Ledger;
use super::log::{Fact, Log};
use super::process::{Process, Watching};
use super::script::{Event, Mishap, Script, Trouble};
use crate::consumer::AcceptedGap;
use crate::consumer::clock::Jumping;
use crate::consumer::lane::Control;
use crate::store::memory::Tables;

/// No script needs more moments than this when the consumer gets on at all.
const PATIENCE: u32 = 20_000;
/// An event that fits nothing for this long is left out: the lane may be waiting for the last one.
const LONGEST_WAIT: u32 = 400;
/// So many lanes may be inside one another.
const DEEPEST: usize = 3;

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
    Trouble(Trouble),
    Mishap(Mishap),
}

/// See the module's head.
pub struct World(Mutex<State>);

/// All there is.
pub struct State {
    pub log: Log,
    pub tables: Tables,
    pub ledger: Ledger,
    /// What the database was after each change.
    pub past: Vec<(Tables, Ledger)>,
    script: VecDeque<(u8, Event)>,
    moments: u32,
    /// For how long the next event has not fitted.
    waited: u32,
    pub refusing: bool,
    pub database_away: u8,
    pub log_away: u8,
    pub database_generation: u32,
    pub limit: usize,
    pub accepted: Vec<AcceptedGap>,
    /// The lanes that run, the innermost last.
    pub lanes: Vec<Running>,
    pub started: u64,
    /// The threads that look at log and database ask, not a lane.
    pub watching: bool,
    pub drained: bool,
}

/// A lane that runs.
pub struct Running {
    pub number: u64,
    pub control: Arc<Control>,
    pub moments_left: Option<u8>,
    pub killed: bool,
    /// Its process is to be started anew, with other settings.
    pub restart: bool,
    /// For how long an operator has seen that it needs help.
    pub red_for: u32,
    pub watching: Option<Watching>,
    pub delivered: BTreeMap<i64, Fact>,
    /// The last batch that was refused for an order that stands for an older one.
    pub rejected: Option<(i64, i64)>,
    /// How the orders fared of whose commits it heard: refused or not.
    pub fared: Vec<bool>,
}

impl Running {
    pub fn new(
        number: u64,
        control: Arc<Control>,
        moments_left: Option<u8>,
        watching: Option<Watching>,
    ) -> Running {
        Running {
            watching,
            restart: false,
            red_for: 0,
            number,
            control,
            moments_left,
            killed: false,
            delivered: BTreeMap::new(),
            rejected: None,
            fared: Vec::new(),
        }
    }

    pub fn stop(&self) {
        self.control.stop.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub fn new(script: Script) -> World {
        World(Mutex::new(State {
            log: Log::new(),
            tables: Tables::default(),
            ledger: Ledger::default(),
            past: Vec::new(),
            script: script.into(),
            moments: 0,
            waited: 0,
            refusing: false,
            database_away: 0,
            log_away: 0,
            database_generation: 0,
            limit: usize::MAX,
            accepted: Vec::new(),
            lanes: Vec::new(),
            started: 0,
            watching: false,
            drained: false,
        }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread only")
    }

    /// A lane does this now: whatever the script has for the moment happens first.
    pub fn moment(self: &Arc<Self>, call: Call) -> Turn {
        Jumping::pass(Duration::from_millis(1));
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
                Event::Store(trouble) => return Turn::Trouble(trouble),
                Event::Log(mishap) => return Turn::Mishap(mishap),
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
        assert!(self.moments < PATIENCE, "the consumer does not get on");
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

    /// The next event, where it is due and fits the call. One that can only befall a call waits for
    /// it, but no longer than the lane has something to do.
    fn due(&mut self, call: Call) -> Option<Event> {
        let (moments, event) = self.script.front_mut()?;
        if *moments > 0 {
            *moments -= 1;
            return None;
        }
        let fits = match event {
            Event::Store(_) => call == Call::Store,
            Event::Log(Mishap::Unavailable | Mishap::Damaged | Mishap::Missing) => {
                call == Call::Ask
            }
            Event::Log(_) => call == Call::Next,
            // While records are being stored nothing can take their place (see `Log::cut`), and an
            // operator keeps still while it is being decided where to read.
            Event::Cut(..) => self.lanes.len() == 1 && call == Call::Next,
            Event::Rewind(_) => call == Call::Next,
            Event::TakenOver(_) => self.lanes.len() < DEEPEST,
            _ => true,
        };
        if fits {
            self.waited = 0;
            return self.script.pop_front().map(|(_, event)| event);
        }
        self.waited += 1;
        let is_fault = matches!(event, Event::Store(_) | Event::Log(_));
        if call == Call::Waiting && (is_fault || self.waited > LONGEST_WAIT) {
            self.script.pop_front();
        }
        None
    }

    fn happen(&mut self, event: Event) {
        let log = &mut self.log;
        match event {
            Event::Append(kinds) => kinds.into_iter().for_each(|kind| log.append(kind)),
            // What would take the proof away that the log was cut off; nobody could know then.
            Event::Transaction { .. } | Event::Compact(_) | Event::Retain(_) if log.keeps_proof => {
            }
            Event::Transaction { commit } => log.transaction(commit),
            Event::Compact(at) => log.compact(at),
            Event::Retain(records) => log.retain(records),
            Event::Cut(records, kinds) => log.cut(records, &kinds),
            Event::Recreate(kinds) => {
                log.recreate(&kinds);
                // A client needs half a second at least to find the new one.
                Jumping::pass(Duration::from_millis(500));
            }
            Event::DatabaseAway(moments) => self.database_away = moments,
            Event::LogAway(moments) => self.log_away = moments,
            Event::Restore(changes) => self.restore(usize::from(changes)),
            Event::Rewind(records) => self.rewind(i64::from(records)),
            Event::Refuse(refusing) => self.refusing = refusing,
            Event::Killed => self.kill(),
            Event::Stopped => self.lane().stop(),
            Event::Limit(records) => self.limit = usize::from(records),
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

    /// When the script is over nothing more goes wrong, and what is open is closed. Whether it is.
    pub fn mend(&mut self) -> bool {
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
