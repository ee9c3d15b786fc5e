//! The lanes of one assignment: started together under one owner uuid, stopped together.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use uuid::Uuid;

use super::context::Context;
use super::lane::Lane;
use super::lane::control::{LaneControl, LaneReport};
use crate::event_log::Reader;
use crate::pipeline::PartitionOffset;
use crate::timeouts::timeouts;

/// Partitions are spread over at most this many lanes, each with its own database connection.
const MAX_LANES: usize = 8;

pub struct Generation {
    lanes: Vec<LaneHandle>,
    pub reports: Receiver<LaneReport>,
}

struct LaneHandle {
    control: Arc<LaneControl>,
    readers: Sender<Vec<Box<dyn Reader>>>,
    thread: JoinHandle<()>,
    /// Where its partitions start; `None` until it has acquired them.
    starts: Option<Vec<PartitionOffset>>,
}

impl LaneHandle {
    fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

impl Generation {
    /// Starts lanes that acquire these partitions under a fresh owner uuid: from the first
    /// acquisition on, whatever an earlier generation still has under way is fenced.
    pub fn start(context: &Arc<Context>, partitions: &[i32]) -> Generation {
        let owner = Uuid::new_v4();
        let recoveries = context.observed.recoveries();
        let (sender, reports) = channel();
        let lanes = partitions.len().min(MAX_LANES);
        let start = |number: usize| {
            let (readers, receiver) = channel();
            let control = Arc::new(LaneControl::default());
            let share = partitions.iter().skip(number).step_by(lanes);
            let lane = Lane {
                number,
                owner,
                recoveries,
                partitions: share.copied().collect(),
                context: context.clone(),
                control: control.clone(),
                reports: sender.clone(),
                readers: receiver,
            };
            LaneHandle {
                control,
                readers,
                thread: thread::spawn(move || lane.run()),
                starts: None,
            }
        };
        let lanes = (0..lanes).map(start).collect();
        Generation { lanes, reports }
    }

    /// Records what a lane has acquired; returns all starts once every lane has reported.
    pub fn acquired(
        &mut self,
        lane: usize,
        starts: Vec<PartitionOffset>,
    ) -> Option<Vec<PartitionOffset>> {
        self.lanes[lane].starts = Some(starts);
        let all: Option<Vec<_>> = self.lanes.iter().map(|lane| lane.starts.clone()).collect();
        all.map(|starts| starts.concat())
    }

    /// Gives each lane the readers of its partitions.
    pub fn distribute(&self, readers: Vec<Box<dyn Reader>>) {
        let mut shares: Vec<Vec<Box<dyn Reader>>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for reader in readers {
            let is_of = |start: &PartitionOffset| start.partition == reader.partition();
            let is_owner = |lane: &LaneHandle| lane.starts.iter().flatten().any(is_of);
            if let Some(owner) = self.lanes.iter().position(is_owner) {
                shares[owner].push(reader);
            }
        }
        for (lane, share) in self.lanes.iter().zip(shares) {
            // A lane that exited meanwhile has reported why.
            let _ = lane.readers.send(share);
        }
    }

    /// Asks all lanes to exit.
    pub fn stop(&self) {
        for lane in &self.lanes {
            lane.control.stop();
        }
    }

    /// How many lanes still run.
    pub fn running(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_running()).count()
    }

    /// How many lanes have been waiting for an answer of the database for too long.
    pub fn stuck(&self) -> usize {
        let is_stuck = |lane: &&LaneHandle| {
            lane.is_running() && lane.control.database.waiting_for() >= timeouts().lane
        };
        self.lanes.iter().filter(is_stuck).count()
    }

    /// The threads that still run.
    pub fn into_running(self) -> impl Iterator<Item = JoinHandle<()>> {
        let running = self.lanes.into_iter().filter(LaneHandle::is_running);
        running.map(|lane| lane.thread)
    }
}
