//! The soak test: random faults, one after another, for a given time, under a steady load.
//!
//! `tests/soak` starts it. It has a Kafka, a PostgreSQL, an API and two consumers of its own, and clients
//! that keep a durable record of every answer. After each fault, everything must work again within 30 s,
//! and every promise is checked against log, store and GET. The seed determines the faults and their
//! durations, so that the same seed repeats them.

mod faults;
mod pipeline;
mod plan;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pipeline::Pipeline;
use plan::{FAULTS, Plan};

const USAGE: &str = "tests/soak DURATION [--seed N] [--fault NAME]…

DURATION is a number with s, m or h. The same seed repeats the same faults, for the same times, in the
same order; without one the soak test chooses it and prints it. --fault chooses from the named faults only:";

/// The arguments.
struct Arguments {
    duration: Duration,
    seed: u64,
    faults: Vec<&'static str>,
}

fn main() -> ExitCode {
    if support::load_client::run_if_requested() {
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE} {}", FAULTS.join(", "));
        return ExitCode::from(2);
    };
    let Arguments { duration, seed, .. } = arguments;
    report(&format!("{} s, seed {seed}", duration.as_secs()));
    let at = Mutex::new("while everything started".to_owned());
    match catch_unwind(AssertUnwindSafe(|| soak(&arguments, &at))) {
        Ok(done) => {
            report(&format!("every promise held: {done}, seed {seed}"));
            ExitCode::SUCCESS
        }
        Err(_) => {
            let at = at.lock().expect("no panic while it is held");
            report(&format!("FAILED {at}; --seed {seed} repeats it"));
            ExitCode::FAILURE
        }
    }
}

/// Injects faults until the time is over; `at` describes the current step.
fn soak(arguments: &Arguments, at: &Mutex<String>) -> String {
    let mut pipeline = Pipeline::start();
    let (began, mut plan) = (Instant::now(), Plan::new(arguments.seed, &arguments.faults));
    let mut steps = 0;
    while began.elapsed() < arguments.duration {
        steps += 1;
        let step = plan.next();
        *at.lock().expect("no panic while it is held") = format!("at step {steps}: {step}");
        report(&format!("step {steps}: {step}"));
        std::thread::sleep(step.before);
        faults::inject(&mut pipeline, &step);
        let fault_ended = Instant::now();
        pipeline.wait_until_recovered(fault_ended);
        let (recovered, orders) = (fault_ended.elapsed(), pipeline.check());
        report(&format!(
            "        recovered in {:.1} s, {orders} orders",
            recovered.as_secs_f64()
        ));
    }
    *at.lock().expect("no panic while it is held") = "at the end".to_owned();
    let orders = pipeline.check_suspended();
    format!("{steps} faults, {orders} orders")
}

fn report(text: &str) {
    let _ = writeln!(std::io::stdout(), "soak: {text}");
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
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
    Some(Arguments {
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
