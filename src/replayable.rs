//! Properties checked by proptest so that a failure can be run again: it prints the seed.
//!
//! `PROPTEST_CASES` raises the number of cases, `PROPTEST_RNG_SEED` gives back what a failure
//! printed. Nothing is written into the tree. The surprising thing: it is compiled twice, here and,
//! by its path, into the tests against true servers.

use std::env::var_os;
use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Runs `holds` on that many values, fewer or more where PROPTEST_CASES says so; it panics where the
/// property does not hold, and the smallest value that breaks it is printed with the seed.
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
        panic!("{broken}\nto see it again: PROPTEST_RNG_SEED={seed} PROPTEST_CASES={cases}");
    }
}
