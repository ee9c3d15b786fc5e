//! Asks before a command changes something.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context as _;

use crate::commands::Context;
use crate::exit::Failure;

/// Whether to go on: `--yes` was given, or the person at the terminal answers yes.
///
/// # Errors
///
/// There is no terminal to ask at, and no `--yes`: a script must say that it means it.
pub fn confirm(question: &str, has_yes: bool, context: &Context) -> anyhow::Result<bool> {
    if has_yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let message = format!("{question}: not done, there is no terminal to ask at");
        return Err(Failure::usage(message).hint("pass --yes").into());
    }
    context.output.message(&format!("{question}? [y/N]"));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.context("reading the answer")?;
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !is_yes {
        context.output.info("nothing was changed");
    }
    Ok(is_yes)
}
