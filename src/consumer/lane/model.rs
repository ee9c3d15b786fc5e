//! A lane, driven through whatever may befall it, against a simple map of what must be in the store.
//!
//! The lane is the real one, from its take to its end: so are contiguity, deduplication, retries and
//! the breaker. The log and the database are models (`log`, `store::memory`), the events between any
//! two calls are proptest's (`script`), and after each change the store is compared with the map
//! (`ledger`). At last nothing more goes wrong, and everything that can be read must be in the store.

use std::sync::Arc;
use std::time::Duration;

use self::process::Process;
use self::script::Script;
use self::world::World;
use crate::consumer::clock::Jumping;
use crate::replayable;

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
    let _clock = Jumping::start(move || process::meanwhile(&around));
    while !world.state().drained {
        let mut process = Process::new(&world);
        while process.run_lane(None) && !world.state().drained {
            // The polling thread lets a second pass before it starts a round anew.
            Jumping::pass(Duration::from_secs(1));
        }
    }
    let state = world.state();
    state.ledger.check(&state.tables);
}

#[test]
fn whatever_befalls_a_consumer_every_record_is_stored_once_and_none_goes_back() {
    replayable::check(2_000, script::script(), run);
}
