//! `orders status`: whether every part is healthy, one line a part, with the command that repairs it.
//!
//! Asks every source at once, each for at most 800 ms.

mod sources;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::commands::watch::watch;
use crate::commands::{Context, connect};
use crate::config::{AdminUrlArgs, ApiUrlArgs, EngineArgs, GroupArgs, duration};
use crate::escape::escape;
use crate::exit::Exit;
use crate::operations::status::{Part, State, is_healthy};
use sources::{Found, Sources};

const EXAMPLES: &str = "\
Examples:
  orders status                       one line a part, with what repairs it
  orders status --watch               again every two seconds, until Ctrl-C
  orders status --wait-healthy 60s    for scripts: wait until all is healthy
  orders status --admin http://10.0.0.7:8081 --admin http://10.0.0.8:8082
  orders status --output json | jq '.parts[] | select(.state != \"ok\")'

Services of this user on this machine are found by themselves, others by the
URL of their operators' port. What does not answer within 800 ms is a line of
the answer. Exit code 3 when a part fails, 5 when neither the log nor the
database can be reached; a warning alone is healthy.";

/// The pause between two looks of `--wait-healthy`.
const PAUSE: Duration = Duration::from_millis(500);

/// The arguments of `orders status`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Repeat it every two seconds; with --output json one document a line
    #[arg(long)]
    watch: bool,

    /// Wait until every part is healthy, for at most that time
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "watch")]
    wait_healthy: Option<Duration>,

    #[command(flatten)]
    engines: EngineArgs,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    api: ApiUrlArgs,
    #[command(flatten)]
    admin: AdminUrlArgs,
}

/// Prints the parts, once, again and again, or when they are healthy.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    // Before the engines are opened: they read its time limits.
    connect::wait(None, true);
    let sources = Sources::open(&args, context)?;
    if args.watch {
        return watch(&context.output, || {
            report(&sources.ask()?, true, context)?;
            Ok(None)
        });
    }
    let found = match args.wait_healthy {
        Some(within) => wait_until_healthy(&sources, within, context)?,
        None => sources.ask()?,
    };
    report(&found, false, context)?;
    Ok(match is_healthy(&found.parts) {
        true => Exit::Done,
        false if found.is_reached => Exit::CheckFailed,
        false => Exit::Unreachable,
    })
}

/// What was found when everything was healthy, or last.
fn wait_until_healthy(
    sources: &Sources,
    within: Duration,
    context: &Context,
) -> anyhow::Result<Found> {
    let deadline = Instant::now() + within;
    let mut reported = Vec::new();
    loop {
        let found = sources.ask()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if is_healthy(&found.parts) || left.is_zero() {
            return Ok(found);
        }
        let failing = found.parts.iter().filter(|it| it.state == State::Fail);
        let failing: Vec<&'static str> = failing.map(|it| it.part).collect();
        if reported != failing {
            let names = failing.join(", ");
            context.output.info(&format!("waiting for {names}"));
            reported = failing;
        }
        thread::sleep(PAUSE.min(left));
    }
}

fn report(found: &Found, is_watch: bool, context: &Context) -> anyhow::Result<()> {
    let output = &context.output;
    if !output.is_json() {
        if is_watch {
            output.clear()?;
        }
        let lines: Vec<String> = found.parts.iter().map(line).collect();
        return output.data(&lines.join("\n"));
    }
    let document = json!({ "healthy": is_healthy(&found.parts), "parts": found.parts });
    match is_watch {
        true => output.json_line(&document),
        false => output.json(&document),
    }
}

fn line(part: &Part) -> String {
    let Part {
        part,
        state,
        detail,
        fix,
    } = part;
    let fix = fix.as_ref().map(|fix| format!("   → {}", escape(fix)));
    let detail = escape(detail);
    format!("{state:<5} {part:<12} {detail}{}", fix.unwrap_or_default())
}
