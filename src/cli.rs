//! The command line: global flags, one variant a command.
//!
//! Owns the clap tree and the table from command to `run`; a command's own flags are defined with the
//! command. Parsing only reads the environment and the `.env` file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{self, Context};
use crate::config::{self, Settings, Variables};
use crate::diagnostics::{self, LogFormat};
use crate::exit::{Exit, Failure};
use crate::failpoint;
use crate::output::{Format, Output, Verbosity};
use crate::timeouts;

const EXAMPLES: &str = "\
Examples:
  orders up --demo                        everything in one process
  orders migrate                          create or update the tables
  orders create-topics --partitions 12    create the topics
  orders consume                          from the log into the database
  orders serve-api                        POST /orders, GET /api/order/<uid>
  orders send order.json                  post an order
  orders get b563feb7b2b84b6test          look one up
  orders status                           is everything healthy?
  orders lag                              how many records wait, and since when
  orders dead-letters                     what was refused, and why
  orders trace b563feb7b2b84b6test        where is it?
  orders verify                           is anything lost?
  orders export --to orders.ndjson        write every stored order into a file
  orders config --running                 the settings of running services

Settings come from flags, the environment, a .env file, defaults, in this order.
Without KAFKA_BROKERS and DB_URL, log and orders are files in ./orders-data.
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a check failed,
4 timed out, 5 Kafka, database or API unreachable, 130/143 by signal.";

/// The command line of `orders`.
#[derive(Parser)]
#[command(name = "orders", version, after_help = EXAMPLES, max_term_width = 80)]
#[command(about = "An order pipeline and its operators' commands in one program")]
#[command(propagate_version = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print data as a table or as JSON
    #[arg(long, global = true, value_enum, value_name = "table|json")]
    #[arg(default_value_t, hide_possible_values = true)]
    pub output: Format,

    /// Print only warnings and errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print more on stderr; -vv prints everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Write diagnostics as text or as JSON
    #[arg(long, global = true, value_enum, value_name = "text|json")]
    #[arg(default_value_t, hide_possible_values = true)]
    pub log_format: LogFormat,

    /// File with variables [default: .env, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

impl Global {
    fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Trace,
        }
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run everything in one process; no other software is required
    Up(commands::up::Args),
    /// Create or update the tables of the database
    Migrate(commands::migrate::Args),
    /// Create the topics, or check existing ones
    CreateTopics(commands::create_topics::Args),
    /// Serve the HTTP API: accept orders and return them
    ServeApi(commands::serve_api::Args),
    /// Store orders from the log in the database, and answer lookups
    Consume(commands::consume::Args),
    /// Post orders from files or stdin to the API
    Send(commands::send::Args),
    /// Get orders by their uid from the API
    Get(commands::get::Args),
    /// List the newest orders, or those of a customer
    List(commands::list::Args),
    /// Show whether every part is healthy, and what repairs it
    Status(commands::status::Args),
    /// Show how many records wait in each partition, and who has it
    Lag(commands::lag::Args),
    /// Records that were deleted before they were read
    Gaps(commands::gaps::Args),
    /// Apply records of the log again, which is harmless
    Replay(commands::replay::Args),
    /// See what was refused, and why; repair it
    DeadLetters(Box<commands::dead_letters::Args>),
    /// Erase an order for good: a customer wants to be forgotten
    Erase(commands::erase::Args),
    /// Show where an order is, from the log to the cache
    Trace(commands::trace::Args),
    /// Check that no record of the log is lost
    Verify(commands::verify::Args),
    /// Write every stored order as JSON, one a line
    Export(commands::export::Args),
    /// Show every setting, its value and where it comes from
    Config(commands::config::Args),
    /// Make a token that lets a client in
    Token(commands::token::Args),
    /// Print the completion script of a shell
    Completions(commands::completions::Args),
    /// Print the version
    Version,
}

/// A command line whose flags are known and whose settings are not resolved yet.
pub struct CommandLine {
    arguments: Vec<OsString>,
    flags: ArgMatches,
    global: Global,
}

impl CommandLine {
    /// Parses the flags. Help, version and usage errors are errors of clap.
    pub fn parse(arguments: Vec<OsString>) -> Result<CommandLine, clap::Error> {
        let flags = config::command_line(&Cli::command(), &arguments)?;
        let global = Global::from_arg_matches(&flags)?;
        Ok(CommandLine {
            arguments,
            flags,
            global,
        })
    }

    /// The streams, with the format and the verbosity of the flags.
    pub fn streams(&self) -> Output {
        Output::new(self.global.output, self.global.verbosity())
    }

    /// Whether the command runs until it is stopped.
    pub fn is_service(&self) -> bool {
        matches!(
            self.flags.subcommand_name(),
            Some("up" | "serve-api" | "consume")
        )
    }

    fn resolve(&self) -> Result<(Command, Settings), Failure> {
        let command = Cli::command();
        let variables = Variables::load(&command, self.global.env_file.as_deref())?;
        let (matches, settings) =
            Settings::resolve(command, &self.arguments, &self.flags, variables)?;
        let command = Command::from_arg_matches(&matches);
        Ok((command.expect("clap has matched these arguments"), settings))
    }
}

/// Runs the command. Blocks until it is done.
pub fn run(line: &CommandLine, output: &Output) -> anyhow::Result<Exit> {
    // Dropped last: that writes the lines that are still queued.
    let _diagnostics = diagnostics::init(line.global.log_format, line.global.verbosity())?;
    let (command, settings) = line.resolve()?;
    settings.warn_of_exposed_secrets();
    read_test_settings(&settings)?;
    let context = Context {
        settings,
        output: output.clone(),
    };
    match command {
        Command::Up(args) => commands::up::run(args, &context),
        Command::Migrate(args) => commands::migrate::run(args, &context),
        Command::CreateTopics(args) => commands::create_topics::run(args, &context),
        Command::ServeApi(args) => commands::serve_api::run(args, &context),
        Command::Consume(args) => commands::consume::run(args, &context),
        Command::Send(args) => commands::send::run(args, &context),
        Command::Get(args) => commands::get::run(args, &context),
        Command::List(args) => commands::list::run(args, &context),
        Command::Status(args) => commands::status::run(args, &context),
        Command::Lag(args) => commands::lag::run(args, &context),
        Command::Gaps(args) => commands::gaps::run(args, &context),
        Command::Replay(args) => commands::replay::run(args, &context),
        Command::DeadLetters(args) => commands::dead_letters::run(*args, &context),
        Command::Erase(args) => commands::erase::run(args, &context),
        Command::Trace(args) => commands::trace::run(args, &context),
        Command::Verify(args) => commands::verify::run(args, &context),
        Command::Export(args) => commands::export::run(args, &context),
        Command::Config(args) => commands::config::run(args, &Cli::command(), &context),
        Command::Token(args) => commands::token::run(args, &context),
        Command::Completions(args) => {
            commands::completions::run(args, &mut Cli::command(), &context)
        }
        Command::Version => commands::version::run(&context),
    }
}

/// For tests only, so neither help nor completions mention them.
fn read_test_settings(settings: &Settings) -> Result<(), Failure> {
    test_setting(settings, failpoint::VARIABLE, failpoint::arm)?;
    test_setting(settings, timeouts::VARIABLE, timeouts::replace)
}

fn test_setting<T: FromStr<Err = String>>(
    settings: &Settings,
    variable: &str,
    apply: impl FnOnce(T),
) -> Result<(), Failure> {
    if let Some(text) = settings.variable(variable)? {
        let refuse = |expected: String| {
            Failure::usage(format!("`{variable}` is `{text}`, expected {expected}"))
        };
        apply(text.parse().map_err(refuse)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid_for_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_is_explained_in_help() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "`{name}` has no help");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "`{name}`: {id} has no help");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn global_flags_work_before_and_after_the_command() {
        let parse = |line: [&str; 6]| CommandLine::parse(line.map(OsString::from).into());
        for line in [
            ["orders", "--output", "json", "-v", "completions", "bash"],
            ["orders", "completions", "bash", "-v", "--output", "json"],
        ] {
            let Ok(line) = parse(line) else {
                panic!("the flags are valid");
            };
            assert_eq!(line.global.output, Format::Json);
            assert_eq!(line.global.verbosity(), Verbosity::Verbose);
        }
        let conflicting = ["orders", "-q", "-v", "completions", "bash", "-q"];
        assert!(parse(conflicting).is_err());
    }
}
