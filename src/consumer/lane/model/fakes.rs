//! The log and the store as a lane sees them; every call is a moment at which the script may act.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::log::{Cursor, Fact};
use super::script::{LogFailure, StoreFailure};
use super::world::{Call, State, Turn, World};
use crate::consumer::lane::control::{LaneExit, LaneReport};
use crate::event_log::*;
use crate::migrations;
use crate::pipeline::{PartitionOffset, TopicId};
use crate::store::*;

/// The log and the database of one process.
pub struct Engines(pub Arc<World>);

fn error(failure: LogFailure) -> LogError {
    let message = format!("{failure:?}");
    match failure {
        LogFailure::Unavailable => LogError::Unavailable(message),
        LogFailure::Missing => LogError::NotFound(message),
        _ => LogError::Refused(message),
    }
}

impl Engines {
    fn ask<T>(&self, answer: impl FnOnce(&State) -> Option<T>) -> Result<T, LogError> {
        match self.0.moment(Call::Ask) {
            Turn::Go => answer(&self.0.state()).ok_or_else(|| error(LogFailure::Missing)),
            Turn::Log(failure) => Err(error(failure)),
            Turn::Killed | Turn::Away | Turn::Store(_) => Err(error(LogFailure::Unavailable)),
        }
    }
}

impl EventLog for Engines {
    fn topic_id(&self, _: &str) -> Result<TopicId, LogError> {
        self.ask(|state| Some(state.log.topic_id().clone()))
    }

    fn topic(&self, _: &str) -> Result<TopicState, LogError> {
        self.ask(|state| Some(state.log.state()))
    }

    fn range(&self, _: &str, _: i32) -> Result<OffsetRange, LogError> {
        self.ask(|state| Some(state.log.range()))
    }

    fn read_from(&self, _: &str, start: PartitionOffset) -> Result<ReadBack, LogError> {
        self.ask(|state| state.log.read_from(start.offset))
    }

    fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, Committed>, LogError> {
        unreachable!("the watching threads read them")
    }
    fn offsets_since(&self, _: &str, _: i64) -> Result<Vec<i64>, LogError> {
        unreachable!("an operator's command asks")
    }

    fn append(&self, _: Durability, _: NewRecord<'_>) -> Result<Ack, AppendError> {
        unreachable!("a lane only reads")
    }
    fn warm_up(&self) -> Result<(), LogError> {
        unreachable!("a lane only reads")
    }
    fn flush(&self, _: Duration) {
        unreachable!("a lane only reads")
    }
    fn join(&self, _: &str, _: &str) -> Result<Box<dyn Membership>, LogError> {
        unreachable!("the polling thread joins")
    }
    fn follow(
        &self,
        _: &str,
        _: &[PartitionOffset],
        _: Duration,
    ) -> Result<Box<dyn Follower>, LogError> {
        unreachable!("the API follows")
    }
}

impl StoreEngine for Engines {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        let state = self.0.state();
        if state.database_away > 0 {
            return Err(StoreError::Unavailable("away".into()));
        }
        Ok(Box::new(Connected {
            world: self.0.clone(),
            generation: state.database_generation,
        }))
    }

    fn schema(&self) -> Result<Box<dyn Schema>, StoreError> {
        unreachable!("a lane migrates nothing")
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        unreachable!("a lane exports nothing")
    }

    fn operator(&self) -> Result<Box<dyn OperatorStore>, StoreError> {
        unreachable!("no operator asks a model")
    }

    fn describe(&self) -> String {
        "the model".into()
    }
}

struct Connected {
    world: Arc<World>,
    /// Connections of an earlier generation are closed.
    generation: u32,
}

impl Connected {
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let gone = |why: &str| Err(StoreError::Unavailable(why.into()));
        let turn = self.world.moment(Call::Store);
        let mut state = self.world.state();
        if self.generation != state.database_generation {
            return gone("the connection was closed");
        }
        match turn {
            Turn::Go | Turn::Log(_) => call(&mut state),
            Turn::Killed | Turn::Away => gone("it is away"),
            Turn::Store(StoreFailure::Unavailable) => gone("failed"),
            Turn::Store(StoreFailure::Contended) => Err(StoreError::Contended("failed".into())),
            Turn::Store(StoreFailure::Rejected) => Err(StoreError::Rejected("failed".into())),
            Turn::Store(StoreFailure::Misconfigured) => {
                Err(StoreError::Misconfigured("failed".into()))
            }
            Turn::Store(StoreFailure::AnswerLost) => {
                call(&mut state)?;
                gone("the answer was lost")
            }
            Turn::Store(StoreFailure::KilledAfter) => {
                call(&mut state)?;
                state.kill();
                gone("it is away")
            }
        }
    }
}

impl Positions for Connected {
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError> {
        self.call(|state| Ok(state.tables.positions(log_id)))
    }

    fn accepted_gaps(&mut self, _: &Position) -> Result<Vec<(i64, i64)>, StoreError> {
        self.call(|_| Ok(Vec::new()))
    }
}

impl OrderStore for Connected {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        self.call(|state| Ok(state.acquire(claim)))
    }

    fn commit_start(
        &mut self,
        claim: &Claim,
        decided: &StartDecision,
    ) -> Result<Position, StoreError> {
        self.call(|state| state.commit_start(claim, decided))
    }

    fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        // Only a lane that receives the answer to its COMMIT counts the refusals.
        let mut counted = window.clone();
        let applied = self.call(|state| state.apply(batch, &mut counted))?;
        self.world.state().remember(batch, &applied);
        *window = counted;
        Ok(applied)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        self.call(|state| Ok(state.tables.position(log_id, partition)))
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        self.call(|state| Ok(state.tables.holder(claim)))
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        let applied = |file: &Migration| AppliedMigration {
            version: file.version,
            name: file.name.into(),
            checksum: file.checksum.clone(),
            applied_at: String::new(),
            is_compatible: file.is_compatible,
        };
        let files = migrations::files(Dialect::Postgres);
        self.call(|_| Ok(files.iter().map(applied).collect()))
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.call(|_| Ok(()))
    }

    fn lookup(&mut self, _: &str, _: &[&str]) -> Result<LookupResults, StoreError> {
        unreachable!("lookups ask for orders")
    }

    fn latest(
        &mut self,
        _: &str,
        _: usize,
        _: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError> {
        unreachable!("the API asks for orders")
    }
}

/// A lane's reader; it learns from the lane's own report where it starts, as the polling thread
/// would.
pub struct Records {
    world: Arc<World>,
    reports: Arc<Mutex<Reports>>,
    cursor: Option<Cursor>,
}

/// What a lane has reported.
pub struct Reports {
    receiver: Receiver<LaneReport>,
    start: Option<i64>,
    pub exit: Option<LaneExit>,
}

impl Reports {
    pub fn new(receiver: Receiver<LaneReport>) -> Arc<Mutex<Reports>> {
        Arc::new(Mutex::new(Reports {
            receiver,
            start: None,
            exit: None,
        }))
    }

    pub fn receive(&mut self) {
        for report in self.receiver.try_iter() {
            match report {
                LaneReport::Acquired { starts, .. } => {
                    self.start = starts.first().map(|start| start.offset)
                }
                LaneReport::Exited(exit) => self.exit = Some(exit),
            }
        }
    }
}

impl Records {
    pub fn new(world: Arc<World>, reports: Arc<Mutex<Reports>>) -> Records {
        Records {
            world,
            reports,
            cursor: None,
        }
    }
}

impl Reader for Records {
    fn partition(&self) -> i32 {
        0
    }

    fn next(&mut self, max_records: usize, _: usize, _: Duration) -> Fetched {
        if self.cursor.is_none() {
            let mut reports = self.reports.lock().expect("one thread only");
            reports.receive();
            let start = reports
                .start
                .expect("a reader is used after the acquisition");
            self.cursor = Some(Cursor::new(&self.world.state().log, start));
        }
        let turn = self.world.moment(Call::Next);
        let failed = |fault: fn(String) -> LogFault| Fetched::Fault(fault("failed".into()));
        let cursor = self.cursor.as_mut().expect("it was created above");
        let mut state = self.world.state();
        match turn {
            Turn::Killed | Turn::Away => return Fetched::Nothing,
            Turn::Log(LogFailure::Transient) => return failed(LogFault::Transient),
            Turn::Log(LogFailure::Reset) => return failed(LogFault::Reset),
            Turn::Log(LogFailure::Fatal) => return failed(LogFault::Fatal),
            Turn::Log(LogFailure::Corrupt) => {
                cursor.skip(&state.log);
                return failed(LogFault::Corrupt);
            }
            Turn::Log(LogFailure::Skipped) => cursor.skip(&state.log),
            Turn::Go | Turn::Log(_) | Turn::Store(_) => {}
        }
        let limit = state
            .limit
            .map_or(max_records, usize::from)
            .min(max_records);
        match cursor.next(&state.log, limit) {
            Err(fault) => Fetched::Fault(fault),
            Ok(None) => Fetched::End,
            Ok(Some(facts)) if facts.is_empty() => Fetched::Nothing,
            Ok(Some(facts)) => {
                let records = facts.iter().map(|fact: &Fact| fact.record.clone());
                let records = records.collect();
                state.deliver(facts);
                Fetched::Records(records)
            }
        }
    }

    fn on_ready(&mut self, _: Box<dyn Fn() + Send + Sync>) {}
}
