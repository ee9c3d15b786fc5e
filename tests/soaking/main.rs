//! The soak test: random faults, one after another, for a given time, under a steady load.
//!
//! `tests/soak` starts it. It has a Kafka, a PostgreSQL, an API and two consumers of its own, and clients
//! that keep a durable record of every answer. After each fault, everything must work again within 30 s,
//! and every promise is checked against log, store and GET. The seed determines the faults and their
//! durations, so that the same seed repeats them.

mod faults;
mod plan;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plan::{FAULTS, Plan, Step};
use world::World;

const USAGE: &str = "tests/soak DURATION [--seed N] [--fault NAME]…

DURATION is a number with s, m or h. The same seed brings the same faults, for the same times, in the
same order; without one the soak picks it and says it. --fault picks from the named faults only:";

/// The arguments.
struct Asked {
    duration: Duration,
    seed: u64,
    faults: Vec<&'static str>,
}

fn main() -> ExitCode {
    if support::load_client::run_if_requested() {
        return ExitCode::SUCCESS;
    }
    let Some(asked) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE} {}", FAULTS.join(", "));
        return ExitCode::from(2);
    };
    let Asked { duration, seed, .. } = asked;
    say(&format!("{} s, seed {seed}", duration.as_secs()));
    let at = Mutex::new("while everything started".to_owned());
    match catch_unwind(AssertUnwindSafe(|| soak(&asked, &at))) {
        Ok(done) => {
            say(&format!("every promise held: {done}, seed {seed}"));
            ExitCode::SUCCESS
        }
        Err(_) => {
            let at = at.lock().expect("no panic while it is held");
            say(&format!("FAILED {at}; --seed {seed} does the same again"));
            ExitCode::FAILURE
        }
    }
}

/// Injects faults until the time is over; `at` describes the current step.
fn soak(asked: &Asked, at: &Mutex<String>) -> String {
    let mut world = World::start();
    let (began, mut plan) = (Instant::now(), Plan::new(asked.seed, &asked.faults));
    let mut steps = 0;
    while began.elapsed() < asked.duration {
        steps += 1;
        let step: Step = plan.next();
        *at.lock().expect("no panic while it is held") = format!("at step {steps}: {step}");
        say(&format!("step {steps}: {step}"));
        std::thread::sleep(step.before);
        faults::strike(&mut world, &step);
        let healed = Instant::now();
        world.wait_until_going(healed);
        let (recovered, orders) = (healed.elapsed(), world.check());
        say(&format!(
            "        recovered in {:.1} s, {orders} orders",
            recovered.as_secs_f64()
        ));
    }
    *at.lock().expect("no panic while it is held") = "at the end".to_owned();
    let orders = world.finish();
    format!("{steps} faults, {orders} orders")
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "soak: {text}");
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Asked> {
    let (mut duration, mut seed, mut faults) = (None, None, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => seed = Some(words.next()?.parse().ok()?),
            "--fault" => {
                let name = words.next()?;
                faults.push(*FAULTS.iter().find(|fault| **fault == name)?);
            }
            _ => duration = Some(parse_duration(&word)?),
        }
    }
    if faults.is_empty() {
        faults = FAULTS.to_vec();
    }
    Some(Asked {
        duration: duration?,
        seed: seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0)),
        faults,
    })
}

fn parse_duration(word: &str) -> Option<Duration> {
    let (number, unit) = word.split_at(word.len().checked_sub(1)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}
