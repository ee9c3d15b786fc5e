//! Property tests whose failures can be run again: a failure prints its seed.
//!
//! `PROPTEST_CASES` sets the number of cases, `PROPTEST_RNG_SEED` takes the seed that a failure
//! printed. Nothing is written into the source tree.

use std::env::var_os;
use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Runs `holds` on that many values, or as many as PROPTEST_CASES says. Panics with the seed and the
/// smallest value that breaks the property.
pub fn check<S: Strategy>(cases: u32, values: S, holds: impl Fn(S::Value)) {
    let given = Config::default();
    let seed = match given.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one("seed"),
    };
    let cases = match var_os("PROPTEST_CASES") {
        Some(_) => given.cases,
        None => cases,
    };
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..given
    };
    let outcome = TestRunner::new(config).run(&values, |value| {
        holds(value);
        Ok(())
    });
    if let Err(broken) = outcome {
        panic!("{broken}\nto run it again: PROPTEST_RNG_SEED={seed} PROPTEST_CASES={cases}");
    }
}
