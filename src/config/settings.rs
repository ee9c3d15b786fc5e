//! The settings of a command: flag, else environment, else `.env` file, else default.
//!
//! A setting is a clap argument with an `env`. The command line is parsed twice: [`command_line`]
//! reads flags alone, so that `--help` works with a malformed variable and `--env-file` is known;
//! [`Settings::resolve`] passes the variables to clap as defaults and parses the values.
//!
//! # Invariants
//!
//! - An empty variable counts as unset; an empty flag is an error.
//! - An error names the flag or the variable that holds the value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use super::properties;
use super::redaction::{MASK, redact, redact_url};
use super::variables::{self, Origin, Variables, variable_of};
use crate::exit::Failure;

/// A setting as it may be shown: its secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The variable, or `-X`, which has none.
    pub name: String,
    /// `None` when it is not set and has no default.
    pub value: Option<String>,
    /// A file with its absolute path.
    pub origin: Origin,
}

impl Entry {
    /// A variable that no argument has.
    fn of_variable(name: &str, variables: &Variables) -> Entry {
        let (value, origin) = match variables.get_lossy(name) {
            Some((_, origin)) if variables::is_secret(name) => (Some(MASK.to_owned()), origin),
            Some((value, origin)) => (Some(redact(&value)), origin),
            None => (None, Origin::Default),
        };
        Entry {
            name: name.to_owned(),
            value,
            origin: absolute(origin),
        }
    }
}

/// The origin for readers in another folder.
fn absolute(origin: Origin) -> Origin {
    match origin {
        Origin::File(path) => Origin::File(path::absolute(&path).unwrap_or(path)),
        other => other,
    }
}

/// The defaults of the subcommands for which the default of a setting is another one than `entry`'s,
/// each with its command. None when the setting is set.
pub fn other_defaults(command: &Command, entry: &Entry) -> Vec<(String, Entry)> {
    if entry.origin != Origin::Default {
        return Vec::new();
    }
    let mut found = Vec::new();
    for subcommand in command.get_subcommands() {
        let is_setting = |argument: &&Arg| variable_of(argument).as_ref() == Some(&entry.name);
        let Some(argument) = subcommand.get_arguments().find(is_setting) else {
            continue;
        };
        let value = default_of(argument);
        if value != entry.value {
            let entry = Entry {
                value,
                ..entry.clone()
            };
            found.push((subcommand.get_name().to_owned(), entry));
        }
    }
    found
}

fn default_of(argument: &Arg) -> Option<String> {
    let default = argument.get_default_values().first();
    default.map(|value| value.to_string_lossy().into_owned())
}

struct Setting {
    id: String,
    /// `--brokers`, or `-X`.
    flag: String,
    variable: Option<String>,
    value: Option<String>,
    origin: Origin,
}

impl Setting {
    /// The setting in an error: the flag, or the variable and the file that it is in.
    fn name(&self) -> String {
        match (&self.variable, &self.origin) {
            (Some(variable), Origin::File(path)) => {
                format!("`{variable}` (in `{}`)", path.display())
            }
            (Some(variable), Origin::Environment | Origin::Default) => format!("`{variable}`"),
            _ => format!("`{}`", self.flag),
        }
    }

    fn find(argument: &Arg, flags: &ArgMatches, variables: &Variables) -> Result<Setting, Failure> {
        let id = argument.get_id().as_str();
        let flag = match (argument.get_long(), argument.get_short()) {
            (Some(long), _) => format!("--{long}"),
            (None, short) => format!("-{}", short.unwrap_or_default()),
        };
        let variable = variable_of(argument);
        let (value, origin) = if flags.value_source(id) == Some(ValueSource::CommandLine) {
            let values = flags.get_many::<String>(id).unwrap_or_default();
            let values: Vec<&str> = values.map(String::as_str).collect();
            if values.iter().any(|value| value.trim().is_empty()) {
                return Err(Failure::usage(format!("`{flag}` is empty")));
            }
            (Some(values.join(",")), Origin::Flag)
        } else if let Some(name) = &variable
            && let Some((value, origin)) = variables.get(name)?
        {
            (Some(value), origin)
        } else {
            (default_of(argument), Origin::Default)
        };
        Ok(Setting {
            id: id.to_owned(),
            flag,
            variable,
            value,
            origin,
        })
    }

    fn entry(&self) -> Entry {
        let mask = |value: &String| match self.id.as_str() {
            "kafka_properties" | "properties" => properties::mask(value),
            "db_url" => redact_url(value),
            _ => redact(value),
        };
        Entry {
            name: self.variable.clone().unwrap_or_else(|| self.flag.clone()),
            value: self.value.as_ref().map(mask),
            origin: absolute(self.origin.clone()),
        }
    }
}

fn is_setting(argument: &Arg) -> bool {
    argument.get_env().is_some() || argument.get_short() == Some('X')
}

/// Parses flags alone: no variable is read, and the value of a setting may be any text.
pub fn command_line(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let flags = flags_only(command.clone()).try_get_matches_from(arguments);
    flags.map_err(|error| match error.use_stderr() {
        true => error,
        // Help names the variables.
        false => {
            let shown = without_values(command.clone()).try_get_matches_from(arguments);
            shown.err().unwrap_or(error)
        }
    })
}

/// The command whose help shows no variable's value: it may be a secret.
fn without_values(command: Command) -> Command {
    let command = command.mut_args(|argument| argument.hide_env_values(true));
    command.mut_subcommands(without_values)
}

fn flags_only(command: Command) -> Command {
    let command = command.mut_args(|argument| match is_setting(&argument) {
        true => argument
            .env(Resettable::Reset)
            .value_parser(clap::value_parser!(String)),
        false => argument,
    });
    command.mut_subcommands(flags_only)
}

/// Changes the subcommand at the end of a path. Variables of those above it are not read.
fn at_path(command: Command, path: &[&str], change: impl FnOnce(Command) -> Command) -> Command {
    let Some((name, path)) = path.split_first() else {
        return change(command);
    };
    command
        .mut_args(|argument| argument.env(Resettable::Reset))
        .mut_subcommand(name, |command| at_path(command, path, change))
}

/// The settings of one command.
pub struct Settings {
    list: Vec<Setting>,
    variables: Variables,
}

impl Settings {
    /// Finds each setting of the subcommand that `flags` chose, the innermost of several, and parses its
    /// value.
    ///
    /// # Errors
    ///
    /// A value that cannot be used, with the name of its flag or variable.
    pub fn resolve(
        command: Command,
        arguments: &[OsString],
        flags: &ArgMatches,
        variables: Variables,
    ) -> Result<(ArgMatches, Settings), Failure> {
        let (mut path, mut flags, mut chosen) = (Vec::new(), flags, &command);
        while let Some((name, of_subcommand)) = flags.subcommand() {
            chosen = chosen.find_subcommand(name).expect("clap has matched it");
            (path, flags) = ([path, vec![name]].concat(), of_subcommand);
        }
        let list = chosen
            .get_arguments()
            .filter(|argument| is_setting(argument))
            .map(|argument| Setting::find(argument, flags, &variables))
            .collect::<Result<Vec<_>, _>>()?;
        let settings = Settings { list, variables };
        let command = at_path(command, &path, |chosen| settings.as_defaults(chosen));
        let matches = command.try_get_matches_from(arguments);
        Ok((matches.map_err(|error| settings.explain(&error))?, settings))
    }

    /// The command with the values of the variables as defaults.
    fn as_defaults(&self, command: Command) -> Command {
        self.list.iter().fold(command, |command, setting| {
            command.mut_arg(&setting.id, |argument| {
                let argument = argument.env(Resettable::Reset);
                match (&setting.value, &setting.origin) {
                    (Some(value), Origin::Environment | Origin::File(_)) => {
                        argument.default_value(value.clone())
                    }
                    _ => argument,
                }
            })
        })
    }

    /// Names the setting that clap could not parse.
    fn explain(&self, error: &clap::Error) -> Failure {
        // Such as `--brokers <HOST:PORT,…>`.
        let flag = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => argument.split(' ').next(),
            _ => None,
        };
        let setting = self.list.iter().find(|it| Some(&*it.flag) == flag);
        let invalid = std::error::Error::source(error).and_then(|it| it.downcast_ref::<Invalid>());
        let (Some(setting), Some(invalid)) = (setting, invalid) else {
            return Failure::usage(error.kind().to_string());
        };
        let failure = Failure::usage(format!("{} {invalid}", setting.name()));
        match invalid.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Every setting of the command, in the order of its help, then the variables that no argument
    /// has.
    pub fn entries(&self) -> Vec<Entry> {
        let others = variables::without_argument();
        let others = others.map(|name| Entry::of_variable(name, &self.variables));
        self.list.iter().map(Setting::entry).chain(others).collect()
    }

    /// The `.env` file that was read; `None` where there is none.
    pub fn env_file(&self) -> Option<&Path> {
        let path = self.variables.path.as_path();
        path.exists().then_some(path)
    }

    /// The value of a variable that may belong to another command.
    pub fn variable(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.variables.get(name)?.map(|(value, _)| value))
    }

    /// The variables that fill in what the database URL leaves out: those that are set.
    pub fn postgres_variables(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut values = BTreeMap::new();
        for name in variables::of_postgres() {
            if let Some(value) = self.variable(name)? {
                values.insert(name.to_owned(), value);
            }
        }
        Ok(values)
    }

    /// The flag or the variable that sets an argument, for an error.
    pub fn name(&self, id: &str) -> String {
        let setting = self.list.iter().find(|it| it.id == id);
        setting.map_or_else(|| format!("`{id}`"), Setting::name)
    }

    /// Warns of passwords on the command line.
    pub fn warn_of_exposed_secrets(&self) {
        for Setting {
            flag,
            variable,
            value,
            origin,
            ..
        } in &self.list
        {
            if *origin == Origin::Flag
                && let (Some(variable), Some(value)) = (variable, value)
                && redact(value) != *value
            {
                tracing::warn!(
                    "`{flag}` holds a password, which every user of this machine can read in the \
                     list of processes: put it into {variable}"
                );
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
