//! `orders completions SHELL`: the completion script of a shell, on stdout.

use clap_complete::Shell;

use crate::commands::Context;
use crate::exit::Exit;

/// The arguments of `orders completions`.
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script for `command`, the whole command line.
pub fn run(args: Args, command: &mut clap::Command, context: &Context) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "orders", &mut script);
    context.output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
