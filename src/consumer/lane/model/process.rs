//! A consumer process of the model: what its polling thread, its watching threads and its operator do
//! around one lane, in the lane's own thread.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::fakes::{Engines, Records, Reports};
use super::world::{Call, Running, State, Turn, World};
use crate::admin::Health;
use crate::config::Topics;
use crate::consumer::acquire::AcceptedGap;
use crate::consumer::context::{Context, Settings};
use crate::consumer::lane::Lane;
use crate::consumer::lane::control::{LaneControl, LaneExit};
use crate::consumer::status::Status;
use crate::consumer::{clock, watch};
use crate::event_log::Reader;
use crate::shutdown::Shutdown;
use crate::store::OrderStore;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// For how many moments a partition must be unhealthy before the operator acts.
const OPERATOR_DELAY: u32 = 5;

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
        let (status, shutdown) = (Status::new(), Shutdown::manual());
        let context = Context::new(settings, engines.clone(), engines, status, shutdown);
        let context = Arc::new(context);
        let mut watching = Watching::of(context.clone());
        world.state().watching = true;
        watching.check();
        world.state().watching = false;
        Process {
            world: world.clone(),
            context,
            watching: Some(watching),
        }
    }

    /// Runs a lane until it exits, or asks it to exit after so many moments. Whether the process lives.
    pub fn run_lane(&mut self, moments: Option<u8>) -> bool {
        let (sender, readers) = channel();
        let (reporting, receiver) = channel();
        let reports = Reports::new(receiver);
        let reader: Box<dyn Reader> = Box::new(Records::new(self.world.clone(), reports.clone()));
        sender.send(vec![reader]).expect("the receiver is here");
        let control = Arc::new(LaneControl::default());
        let number = {
            let mut state = self.world.state();
            state.started += 1;
            let number = state.started;
            let watching = self.watching.take();
            state.lanes.push(Running {
                number,
                control: control.clone(),
                moments_left: moments,
                watching,
                ..Running::default()
            });
            number
        };
        let lane = Lane {
            number: 0,
            owner: Uuid::from_u128(number.into()),
            recoveries: self.context.observed.recoveries(),
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
        reports.receive();
        let exit = reports.exit.take().expect("a lane reports why it exited");
        assert_ne!(exit, LaneExit::Reacquire("a lane panicked".into()));
        !ran.killed && !ran.restart
    }
}

/// The two threads that watch the log and the database.
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

    fn check(&mut self) {
        if clock::now() >= self.next {
            self.next = clock::now() + WATCH_INTERVAL;
            watch::check_topic(&self.context, &mut self.log_away);
            watch::check_database(&self.context, &mut self.store, &mut self.database_away);
        }
    }
}

/// What the world does while the innermost lane waits.
pub fn meanwhile(world: &Arc<World>) {
    let watching = world.state().begin_watching();
    let Some(mut watching) = watching else {
        return;
    };
    watching.check();
    let context = watching.context.clone();
    world.state().end_watching(watching);
    if world.moment(Call::Waiting) != Turn::Killed {
        operate(&mut world.state(), &context);
    }
}

/// In the end nothing more fails, and the operator does what the consumer's health says.
fn operate(state: &mut State, context: &Context) {
    if state.lanes.len() > 1 {
        return;
    }
    if state.recover() && state.ledger.covers(&state.log) {
        state.drained = true;
        state.lane().stop();
        return;
    }
    let Some(gap) = gap_to_accept(context) else {
        return;
    };
    let lane = state.lane();
    lane.unhealthy_for += 1;
    if lane.unhealthy_for >= OPERATOR_DELAY && !lane.restart {
        lane.restart = true;
        lane.stop();
        state.accepted.push(gap);
    }
}

/// The gap that an unhealthy condition says could be accepted.
fn gap_to_accept(context: &Context) -> Option<AcceptedGap> {
    context.status.ready().iter().find_map(|check| {
        let (_, gap) = check.detail.split_once("orders gaps accept ")?;
        Some(gap.parse().expect("what is printed can be parsed"))
    })
}
