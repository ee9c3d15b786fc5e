//! A consumer of the model: what its polling thread, its watching threads and its operator do around
//! one lane, in the lane's own thread.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::fakes::{Engines, Records, Reports};
use super::world::{Call, Running, State, Turn, World};
use crate::admin::Health;
use crate::config::Topics;
use crate::consumer::bell::Bell;
use crate::consumer::clock;
use crate::consumer::lane::{Control, Ended, Lane};
use crate::consumer::status::Status;
use crate::consumer::{AcceptedGap, Context, MAX_RECORDS, Settings, watch};
use crate::event_log::Reader;
use crate::shutdown::Shutdown;
use crate::store::OrderStore;

const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// How long an operator looks at a red partition.
const OPERATOR_LOOKS: u32 = 5;

/// One process; a killed one is followed by another.
pub struct Process {
    world: Arc<World>,
    context: Arc<Context>,
    /// A running lane has it.
    watching: Option<Watching>,
}

impl Process {
    pub fn new(world: &Arc<World>) -> Process {
        let topics = Topics {
            orders: "orders".into(),
            lookup: "lookup".into(),
            found: "found".into(),
        };
        let engines = Arc::new(Engines(world.clone()));
        let settings = Settings {
            topics,
            group: "group".into(),
            lookup_group: "lookups".into(),
            accepted_gaps: world.state().accepted.clone(),
        };
        let context = Context {
            settings,
            log: engines.clone(),
            store: engines,
            status: Status::new(),
            shutdown: Shutdown::manual(),
            host: "host".into(),
            watch: watch::Watch::default(),
            committed: Bell::default(),
            applied: Mutex::default(),
            beyond_end_since: Mutex::default(),
            delivering: AtomicBool::new(false),
            batch_limit: AtomicUsize::new(MAX_RECORDS),
            damaged: AtomicBool::new(false),
        };
        let context = Arc::new(context);
        let mut watching = Watching::of(context.clone());
        world.state().watching = true;
        watching.look();
        world.state().watching = false;
        Process {
            world: world.clone(),
            context,
            watching: Some(watching),
        }
    }

    /// Runs a lane to its end, or asks it to end after so many moments. Whether the process lives.
    pub fn run_lane(&mut self, moments: Option<u8>) -> bool {
        let (sender, readers) = channel();
        let (reporting, receiver) = channel();
        let reports = Reports::new(receiver);
        let reader: Box<dyn Reader> = Box::new(Records::new(self.world.clone(), reports.clone()));
        sender.send(vec![reader]).expect("the receiver is here");
        let control = Arc::new(Control::default());
        let number = {
            let mut state = self.world.state();
            state.started += 1;
            let number = state.started;
            let watching = self.watching.take();
            let running = Running::new(number, control.clone(), moments, watching);
            state.lanes.push(running);
            number
        };
        let lane = Lane {
            number: 0,
            owner: Uuid::from_u128(number.into()),
            returns: self.context.watch.returns(),
            partitions: vec![0],
            context: self.context.clone(),
            control,
            reports: reporting,
            readers,
        };
        lane.run();
        let ran = self.world.state().lanes.pop();
        let mut ran = ran.expect("it was pushed above");
        self.watching = ran.watching.take();
        let mut reports = reports.lock().expect("one thread only");
        reports.hear();
        let why = reports.ended.take().expect("a lane says why it ended");
        assert_ne!(why, Ended::Retake("a lane ended without a reason".into()));
        !ran.killed && !ran.restart
    }
}

/// The two threads that look at the log and the database.
pub struct Watching {
    context: Arc<Context>,
    store: Option<Box<dyn OrderStore>>,
    log_away: bool,
    database_away: bool,
    next: Instant,
}

impl Watching {
    fn of(context: Arc<Context>) -> Watching {
        Watching {
            context,
            store: None,
            log_away: false,
            database_away: false,
            next: clock::now(),
        }
    }

    fn look(&mut self) {
        if clock::now() >= self.next {
            self.next = clock::now() + LOOKS_EVERY;
            watch::look_at_topic(&self.context, &mut self.log_away);
            watch::look_at_database(&self.context, &mut self.store, &mut self.database_away);
        }
    }
}

/// What the world does while the innermost lane waits.
pub fn meanwhile(world: &Arc<World>) {
    let watching = world.state().begin_watching();
    let Some(mut watching) = watching else {
        return;
    };
    watching.look();
    let context = watching.context.clone();
    world.state().end_watching(watching);
    if world.moment(Call::Waiting) != Turn::Killed {
        operate(&mut world.state(), &context);
    }
}

/// At the end nothing more goes wrong, and whoever operates the consumer does as it says.
fn operate(state: &mut State, context: &Context) {
    if state.lanes.len() > 1 {
        return;
    }
    if state.mend() && state.ledger.covers(&state.log) {
        state.drained = true;
        state.lane().stop();
        return;
    }
    let Some(gap) = advice(context) else {
        return;
    };
    let lane = state.lane();
    lane.red_for += 1;
    if lane.red_for >= OPERATOR_LOOKS && !lane.restart {
        lane.restart = true;
        lane.stop();
        state.accepted.push(gap);
    }
}

/// The gap that a red condition says could be accepted.
fn advice(context: &Context) -> Option<AcceptedGap> {
    context.status.ready().iter().find_map(|check| {
        let (_, gap) = check.detail.split_once("--accept-gap ")?;
        Some(gap.parse().expect("what is told can be given back"))
    })
}
