//! A lane, driven through whatever may happen to it, against a simple map of what must be in the store.
//!
//! The lane is the real one, from acquisition to exit: so are contiguity, deduplication, retries and
//! the refusal window. The log and the database are models (`log`, `store::memory`), proptest chooses
//! the events between any two calls (`script`), and after each change the store is compared with the
//! map (`ledger`). In the end nothing more fails, and everything readable must be in the store.

use std::sync::Arc;
use std::time::Duration;

use support::replayable;

use self::process::Process;
use self::script::{Event, Kind, LogFailure, Script, StoreFailure};
use self::world::World;
use crate::consumer::clock::SimulatedClock;

mod database;
mod fakes;
mod ledger;
mod log;
mod process;
mod script;
mod world;

fn run(script: Script) {
    let world = Arc::new(World::new(script));
    let around = world.clone();
    let _clock = SimulatedClock::start(move || process::meanwhile(&around));
    while !world.state().drained {
        let mut process = Process::new(&world);
        while process.run_lane(None) && !world.state().drained {
            // The polling thread waits a second before it starts lanes again.
            SimulatedClock::advance(Duration::from_secs(1));
        }
    }
    let state = world.state();
    state.ledger.check(&state.tables);
}

#[test]
fn whatever_happens_to_a_consumer_every_record_is_stored_once_and_none_goes_back() {
    replayable::check(2_000, script::script(), run);
}

#[test]
fn a_record_that_was_not_delivered_is_not_passed_for_a_hole_of_a_topic_created_since() {
    run(vec![
        (0, Event::Append(vec![Kind::Good(0), Kind::Good(0)])),
        (0, Event::Log(LogFailure::Skipped)),
        (1, Event::Recreate(vec![Kind::Marker, Kind::Good(0)])),
        (0, Event::Append(Vec::new())),
    ]);
}

#[test]
fn a_start_decided_before_the_database_was_restored_is_not_committed_to_it() {
    let good = |count| vec![Kind::Good(0); count];
    // The epoch would be one too high, and the gap before the one between left out.
    run(vec![
        (0, Event::Append([good(3), vec![Kind::Marker]].concat())),
        (0, Event::Retain(1)),
        (0, Event::Store(StoreFailure::Unavailable)),
        (1, Event::Store(StoreFailure::Unavailable)),
        (0, Event::Store(StoreFailure::Unavailable)),
        (44, Event::TakenOver(16)),
        (0, Event::DatabaseAway(1)),
        (0, Event::Append(good(1))),
        (0, Event::Restore(1)),
        (2, Event::Store(StoreFailure::KilledAfter)),
        (11, Event::Recreate(good(1))),
        (2, Event::Restore(1)),
    ]);
    // The gap would begin after the records that the restored database lacks.
    run(vec![
        (6, Event::Killed),
        (0, Event::DatabaseAway(5)),
        (0, Event::Killed),
        (0, Event::Append(good(1))),
        (2, Event::Restore(1)),
        (0, Event::Retain(1)),
        (6, Event::Store(StoreFailure::Unavailable)),
        (1, Event::Append(Vec::new())),
        (3, Event::Append(Vec::new())),
        (8, Event::Recreate(good(1))),
        (2, Event::Restore(1)),
        (0, Event::Append(Vec::new())),
    ]);
}

#[test]
fn a_record_where_markers_were_passed_is_not_taken_for_one_stored_before() {
    let good = |count| vec![Kind::Good(0); count];
    let unavailable = || Event::Store(StoreFailure::Unavailable);
    let transaction = || Event::Transaction { commit: false };
    run(vec![
        (53, Event::Append(good(1))),
        (27, transaction()),
        (5, unavailable()),
        (8, Event::DatabaseAway(1)),
        (5, transaction()),
        (1, unavailable()),
        (6, Event::LogAway(1)),
        (0, Event::TakenOver(9)),
        (6, Event::Refuse(false)),
        (0, Event::Killed),
        (2, transaction()),
        (44, unavailable()),
        (2, Event::Append(good(3))),
        (1, Event::Refuse(false)),
        // The reader has not seen it when the lane passes it.
        (2, transaction()),
        (0, Event::Cut(1, good(1))),
    ]);
}
