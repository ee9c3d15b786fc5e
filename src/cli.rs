//! The command line: global flags, one variant a command.
//!
//! Owns the clap tree and the table from command to `run`; what a command's flags mean lives with the
//! command. Parsing does nothing but parse. The surprising thing: clap does not read the environment
//! here. Help names the variables, `config` reads them, so no value of theirs can show up in help.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{self, Context};
use crate::config::{ConfigError, Environment};
use crate::diagnostics::{self, LogFormat};
use crate::exit::Exit;
use crate::failpoint;
use crate::output::{Format, Output, Verbosity};
use crate::timeouts;

const EXAMPLES: &str = "\
Examples:
  orders up --demo                        everything in one process, nothing to install
  orders migrate                          make or update the tables
  orders create-topics --partitions 12    make the topics
  orders consume                          from the log into the database
  orders serve-api                        POST /orders, GET /api/order/<uid>
  orders send order.json                  post an order
  orders get b563feb7b2b84b6test          look one up
  orders export --to orders.ndjson        write every stored order into a file

Settings come from flags, the environment, a .env file, defaults, in this order.
With neither KAFKA_BROKERS nor DB_URL, log and orders are files in ./orders-data.
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a check said no,
4 timed out, 5 Kafka, database or API unreachable, 130/143 by signal.";

const SERVE_API_EXAMPLES: &str = "\
Variables without a flag, with their defaults:
  CACHE_LOAD_LIMIT   10      orders loaded into the cache at start
  CACHE_TTL_SECONDS  360     how long an order stays in the cache
  CACHE_MAX_BYTES    48MiB   how much memory the cache may take
  LOOKUP_WAIT_MS     2000    how long a GET waits before it answers 202
  KEEP_ALIVE_S       75      how long an idle connection is kept
  MAX_CONNECTIONS    1000    how many connections there may be

Examples:
  orders serve-api --brokers 127.0.0.1:9092
  orders serve-api --http-addr 127.0.0.1:0     on a free port, which it says";

const CONSUME_EXAMPLES: &str = "\
Examples:
  orders consume --brokers 127.0.0.1:9092
  orders consume --admin-addr 127.0.0.1:0      a second one on the same machine
  orders consume --accept-gap orders/3:100-249 go on after records that were deleted unread";

const SEND_EXAMPLES: &str = "\
Examples:
  orders send order.json
  orders send - < orders.ndjson
  orders send --output json *.json             what became of each order, for machines";

const GET_EXAMPLES: &str = "\
Examples:
  orders get b563feb7b2b84b6test
  orders get b563feb7b2b84b6test --output json
  orders get b563feb7b2b84b6test --wait 10s    exit code 3 when there is no such order";

/// The command line of `orders`.
#[derive(Parser, Debug)]
#[command(name = "orders", version, about, after_help = EXAMPLES)]
#[command(propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print data as a table or as JSON
    #[arg(long, global = true, value_enum, value_name = "table|json")]
    #[arg(default_value_t, hide_possible_values = true)]
    pub output: Format,

    /// Say only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more; -vv says everything
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

    /// The streams as these flags ask for them.
    pub fn streams(&self) -> Output {
        Output::new(self.output, self.verbosity())
    }
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run everything in one process; nothing need be installed
    Up(commands::up::Args),
    /// Make or update the tables of the database
    Migrate(commands::migrate::Args),
    /// Make the topics, or check those that are there
    CreateTopics(commands::create_topics::Args),
    /// Serve the HTTP API: orders in, orders out
    #[command(after_help = SERVE_API_EXAMPLES)]
    ServeApi(commands::serve_api::Args),
    /// Store orders from the log in the database, and answer lookups
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(commands::consume::Args),
    /// Post orders from files or stdin to the API
    #[command(after_help = SEND_EXAMPLES)]
    Send(commands::send::Args),
    /// Get orders by their uid from the API
    #[command(after_help = GET_EXAMPLES)]
    Get(commands::get::Args),
    /// Write every stored order as JSON, one a line
    Export(commands::export::Args),
    /// Print the completion script of a shell
    Completions(commands::completions::Args),
}

impl Command {
    /// Whether it runs until it is stopped, with nobody before it.
    pub fn is_service(&self) -> bool {
        matches!(
            self,
            Command::Up(_) | Command::ServeApi(_) | Command::Consume(_)
        )
    }
}

/// Runs the command that was asked for. Blocks until it is done.
pub fn run(cli: Cli, output: &Output) -> anyhow::Result<Exit> {
    // Held to the end: what is still queued is written when it goes.
    let _diagnostics = diagnostics::init(cli.global.log_format, cli.global.verbosity())?;
    let environment = Environment::load(cli.global.env_file.as_deref())?;
    read_test_settings(&environment)?;
    let context = Context {
        environment,
        output: output.clone(),
    };
    match cli.command {
        Command::Up(args) => commands::up::run(args, &context),
        Command::Migrate(args) => commands::migrate::run(args, &context),
        Command::CreateTopics(args) => commands::create_topics::run(args, &context),
        Command::ServeApi(args) => commands::serve_api::run(args, &context),
        Command::Consume(args) => commands::consume::run(args, &context),
        Command::Send(args) => commands::send::run(args, &context),
        Command::Get(args) => commands::get::run(args, &context),
        Command::Export(args) => commands::export::run(args, &context),
        Command::Completions(args) => commands::completions::run(args, &context),
    }
}

/// For tests only, so neither help nor completions know of it.
fn read_test_settings(environment: &Environment) -> Result<(), ConfigError> {
    test_setting(environment, failpoint::VARIABLE, failpoint::arm)?;
    test_setting(environment, timeouts::VARIABLE, timeouts::replace)
}

fn test_setting<T: FromStr<Err = String>>(
    environment: &Environment,
    variable: &str,
    apply: impl FnOnce(T),
) -> Result<(), ConfigError> {
    if let Some(text) = environment.get(variable)? {
        let refuse = |expected: String| {
            ConfigError::new(format!("`{variable}` is `{text}`, expected {expected}"))
        };
        apply(text.parse().map_err(refuse)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_is_explained_in_help() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(
                command.get_about().is_some(),
                "`{name}` has no line of help"
            );
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "`{name}`: {} has no help",
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn global_flags_work_before_and_behind_the_command() {
        for line in [
            ["orders", "--output", "json", "-v", "completions", "bash"],
            ["orders", "completions", "bash", "-v", "--output", "json"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.output, Format::Json);
            assert_eq!(cli.global.verbosity(), Verbosity::Verbose);
        }
        assert!(Cli::try_parse_from(["orders", "-q", "-v", "completions", "bash"]).is_err());
    }
}
