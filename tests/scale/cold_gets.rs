//! GET of orders that are not cached.

use std::time::{Duration, Instant};

use support::bulk::uid;
use support::{Env, Process};

/// Enough that the estimated cost of a lookup passes the server's `jit_above_cost`.
const MANY: u32 = 100_000;

const GETS: u32 = 200;

#[test]
fn a_bulk_load_without_statistics_does_not_slow_down_cold_gets() {
    let (small, large) = (Env::ready(), Env::ready());
    small.db().insert_orders(GETS);
    large.db().insert_orders(MANY);
    let (of_small, of_large) = (Services::start(&small), Services::start(&large));
    let (mut in_small, mut in_large) = (Vec::new(), Vec::new());
    // In turns: the speed of a shared machine changes.
    for number in 0..GETS {
        in_small.push(of_small.time_of_get(&uid(number)));
        in_large.push(of_large.time_of_get(&uid(number * (MANY / GETS))));
    }
    let (small, large) = (median(in_small), median(in_large));
    println!("a cold GET takes {small:?} of a few orders, {large:?} of {MANY}");
    assert!(
        large.as_secs_f64() <= small.as_secs_f64() * 1.5,
        "a cold GET takes {large:?} of {MANY} orders and {small:?} of a few"
    );
}

/// API and consumer of one database.
struct Services {
    api: Process,
    _consumer: Process,
}

impl Services {
    fn start(env: &Env) -> Services {
        Services {
            _consumer: env.consumer(),
            api: env.serve_api().env("CACHE_LOAD_LIMIT", "0").start(),
        }
    }

    fn time_of_get(&self, uid: &str) -> Duration {
        let asked = Instant::now();
        let answer = self.api.get_order(uid);
        assert_eq!(answer.status, 200, "{}", answer.text());
        asked.elapsed()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
