//! Repeats what a command shows, until a signal ends the process.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::commands::exit_of;
use crate::config::redact;
use crate::exit::Exit;
use crate::output::Output;

/// From one beginning to the next.
const INTERVAL: Duration = Duration::from_secs(2);

/// Calls `round` every two seconds until it returns an exit code, or nobody reads what it prints. An
/// error is shown, and the next round may have none.
pub fn watch(
    output: &Output,
    mut round: impl FnMut() -> anyhow::Result<Option<Exit>>,
) -> anyhow::Result<Exit> {
    loop {
        let began = Instant::now();
        match round() {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            Err(error) => show(output, &error)?,
        }
        if output.is_closed() {
            return Ok(Exit::Done);
        }
        thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
    }
}

fn show(output: &Output, error: &anyhow::Error) -> anyhow::Result<()> {
    let (exit, hint) = exit_of(error);
    // It may repeat a setting, with its secrets.
    let message = redact(&format!("{error:#}"));
    output.clear()?;
    output.error(&message, hint);
    if output.is_json() {
        output.json_line(&json!({ "error": message, "hint": hint, "exit_code": exit.code() }))?;
    }
    Ok(())
}
