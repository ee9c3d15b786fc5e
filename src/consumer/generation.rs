//! One round's lanes: started together under one owner uuid, ended together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use uuid::Uuid;

use super::Context;
use super::lane::{Control, Lane, Report};
use crate::event_log::Reader;
use crate::pipeline::PartitionOffset;
use crate::timeouts::timeouts;

/// Partitions are spread over at most this many lanes, each with its own database connection.
const MAX_LANES: usize = 8;

pub struct Generation {
    lanes: Vec<LaneHandle>,
    pub reports: Receiver<Report>,
}

struct LaneHandle {
    control: Arc<Control>,
    readers: Sender<Vec<Box<dyn Reader>>>,
    thread: JoinHandle<()>,
    starts: Option<Vec<PartitionOffset>>,
}

impl Generation {
    /// Starts lanes that take these partitions under a fresh owner uuid: from the first take on,
    /// whatever an earlier generation still has under way is fenced.
    pub fn start(context: &Arc<Context>, partitions: &[i32]) -> Generation {
        let owner = Uuid::new_v4();
        let returns = context.watch.returns();
        let (reporting, reports) = channel();
        let lanes = partitions.len().min(MAX_LANES);
        let lanes = (0..lanes)
            .map(|number| {
                let (readers, receiver) = channel();
                let control = Arc::new(Control::default());
                let lane = Lane {
                    number,
                    owner,
                    returns,
                    partitions: partitions
                        .iter()
                        .skip(number)
                        .step_by(lanes)
                        .copied()
                        .collect(),
                    context: context.clone(),
                    control: control.clone(),
                    reports: reporting.clone(),
                    readers: receiver,
                };
                let thread = std::thread::spawn(move || lane.run());
                LaneHandle {
                    control,
                    readers,
                    thread,
                    starts: None,
                }
            })
            .collect();
        Generation { lanes, reports }
    }

    /// Notes what a lane has taken; all starts once every lane has reported.
    pub fn taken(
        &mut self,
        lane: usize,
        starts: Vec<PartitionOffset>,
    ) -> Option<Vec<PartitionOffset>> {
        self.lanes[lane].starts = Some(starts);
        let all: Option<Vec<_>> = self.lanes.iter().map(|lane| lane.starts.clone()).collect();
        all.map(|starts| starts.concat())
    }

    /// Gives each lane the readers of what it has taken.
    pub fn hand_out(&self, readers: Vec<Box<dyn Reader>>) {
        let mut shares: Vec<Vec<Box<dyn Reader>>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for reader in readers {
            let owner = self.lanes.iter().position(|lane| {
                lane.starts
                    .iter()
                    .flatten()
                    .any(|start| start.partition == reader.partition())
            });
            if let Some(owner) = owner {
                shares[owner].push(reader);
            }
        }
        for (lane, share) in self.lanes.iter().zip(shares) {
            // A lane that ended meanwhile has reported why.
            let _ = lane.readers.send(share);
        }
    }

    /// Asks all lanes to end: they finish the transaction under way, or leave it undone.
    pub fn stop(&self) {
        for lane in &self.lanes {
            lane.control.stop.store(true, Ordering::Relaxed);
            lane.control.bell.ring();
        }
    }

    pub fn has_ended(&self) -> bool {
        self.lanes.iter().all(|lane| lane.thread.is_finished())
    }

    /// How many lanes have been waiting for a database answer for too long.
    pub fn given_up(&self) -> usize {
        let stuck = |lane: &&LaneHandle| {
            !lane.thread.is_finished() && lane.control.vitals.stuck_for() >= timeouts().lane
        };
        self.lanes.iter().filter(stuck).count()
    }

    /// How many lanes still run.
    pub fn running(&self) -> usize {
        self.lanes
            .iter()
            .filter(|lane| !lane.thread.is_finished())
            .count()
    }

    /// The threads that still run.
    pub fn into_running(self) -> impl Iterator<Item = JoinHandle<()>> {
        let threads = self.lanes.into_iter().map(|lane| lane.thread);
        threads.filter(|thread| !thread.is_finished())
    }
}
