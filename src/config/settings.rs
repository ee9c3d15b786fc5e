//! The settings of a command: flag, else environment, else `.env` file, else default.
//!
//! A setting is a clap argument with an `env`. The command line is parsed twice: [`command_line`]
//! looks at flags alone, so that a malformed variable does not stand in the way of `--help` and the
//! `.env` file can be found; [`Settings::resolve`] gives clap the variables as defaults and parses
//! the values. This is the only reader of the process's environment.
//!
//! # Invariants
//!
//! - An empty variable counts as unset; an empty flag is an error.
//! - An error names the flag or the variable that holds the value.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::{Serialize, Serializer};

use super::env_file;
use super::properties;
use super::redaction::redact;
use crate::exit::Failure;
use crate::failpoint;
use crate::timeouts;

/// Variables that are read without being an argument.
pub const CACHE_JANITOR_S: &str = "CACHE_JANITOR_S";
const WITHOUT_ARGUMENT: [&str; 3] = [CACHE_JANITOR_S, failpoint::VARIABLE, timeouts::VARIABLE];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    /// The `.env` file, with its path.
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => formatter.write_str("flag"),
            Origin::Environment => formatter.write_str("environment"),
            Origin::File(path) => path.display().fmt(formatter),
            Origin::Default => formatter.write_str("default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A setting as it may be shown: its secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The variable, or `-X`, which has none.
    pub name: String,
    /// `None` when it is not set and has no default.
    pub value: Option<String>,
    pub origin: Origin,
}

/// The variables of the process and of the `.env` file.
#[derive(Clone, Default)]
pub struct Variables {
    process: BTreeMap<String, OsString>,
    file: BTreeMap<String, String>,
    path: PathBuf,
}

impl Variables {
    /// Reads the process's variables and the file: the one named by `--env-file`, which must exist,
    /// or `.env` in the current directory where there is one. Names that `command` does not know are
    /// left alone.
    pub fn load(command: &Command, env_file: Option<&Path>) -> Result<Variables, Failure> {
        let names = names(command);
        let path = env_file.unwrap_or(Path::new(".env"));
        let value = |name: &String| Some((name.clone(), std::env::var_os(name)?));
        Ok(Variables {
            process: names.iter().filter_map(value).collect(),
            file: env_file::read(path, env_file.is_some(), &names)?,
            path: path.to_owned(),
        })
    }

    fn get(&self, name: &str) -> Result<Option<(String, Origin)>, Failure> {
        if let Some(value) = self.process.get(name).filter(|value| !value.is_empty()) {
            let Some(value) = value.to_str() else {
                return Err(Failure::usage(format!("`{name}` is not valid UTF-8")));
            };
            if !value.trim().is_empty() {
                return Ok(Some((value.trim().to_owned(), Origin::Environment)));
            }
        }
        let value = self.file.get(name).map(|value| value.trim());
        let value = value.filter(|value| !value.is_empty());
        Ok(value.map(|value| (value.to_owned(), Origin::File(self.path.clone()))))
    }
}

/// Every variable of the command and its subcommands.
fn names(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(variable_of);
    let inherited = command.get_subcommands().flat_map(names);
    let others = WITHOUT_ARGUMENT.map(str::to_owned);
    own.chain(inherited).chain(others).collect()
}

/// Why the text of a setting cannot be used: what follows the setting's name in the error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Invalid {
    reason: String,
    hint: Option<&'static str>,
}

impl Invalid {
    /// A reason that does not repeat the value: for values that may be secret.
    pub(super) fn new(reason: impl Into<String>) -> Invalid {
        Invalid {
            reason: reason.into(),
            hint: None,
        }
    }

    /// Repeats the value, without a URL's password.
    pub(super) fn expected(value: &str, expected: &str) -> Invalid {
        Invalid::new(format!("is `{}`, expected {expected}", redact(value)))
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Invalid {
        self.hint = Some(hint);
        self
    }
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
    /// The setting that the user knows: the flag, or the variable with the file it stands in.
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
            let default = argument.get_default_values().first();
            let default = default.map(|value| value.to_string_lossy().into_owned());
            (default, Origin::Default)
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
            _ => redact(value),
        };
        Entry {
            name: self.variable.clone().unwrap_or_else(|| self.flag.clone()),
            value: self.value.as_ref().map(mask),
            origin: self.origin.clone(),
        }
    }
}

fn variable_of(argument: &Arg) -> Option<String> {
    argument
        .get_env()
        .map(|name| name.to_string_lossy().into_owned())
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

/// The settings of one command.
pub struct Settings {
    list: Vec<Setting>,
    variables: Variables,
}

impl Settings {
    /// Finds each setting of the subcommand that `flags` chose, and parses its value.
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
        let (name, flags) = flags.subcommand().expect("a command is required");
        let chosen = command.find_subcommand(name).expect("clap has matched it");
        let list = chosen
            .get_arguments()
            .filter(|argument| is_setting(argument))
            .map(|argument| Setting::find(argument, flags, &variables))
            .collect::<Result<Vec<_>, _>>()?;
        let settings = Settings { list, variables };
        let command = command.mut_subcommand(name, |chosen| settings.as_defaults(chosen));
        let matches = command.try_get_matches_from(arguments);
        Ok((matches.map_err(|error| settings.explain(&error))?, settings))
    }

    /// The command whose defaults are what the variables say.
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

    /// Every setting of the command, in the order of its help.
    pub fn entries(&self) -> Vec<Entry> {
        self.list.iter().map(Setting::entry).collect()
    }

    /// The value of a variable that may belong to another command.
    pub fn variable(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.variables.get(name)?.map(|(value, _)| value))
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
pub(super) mod tests {
    use clap::Args;

    use super::*;

    impl Variables {
        /// The process's variables, without a file.
        pub(in crate::config) fn of_process<'a>(
            pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        ) -> Variables {
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.into());
            Variables {
                process: pairs.into_iter().map(own).collect(),
                ..Variables::default()
            }
        }

        /// The variables of a file, with no others.
        pub(in crate::config) fn of_file(path: &Path, command: &Command) -> Variables {
            Variables {
                file: env_file::read(path, true, &names(command)).unwrap(),
                path: path.to_owned(),
                ..Variables::default()
            }
        }
    }

    /// A command line of one command that takes the arguments `T`.
    pub(in crate::config) fn command<T: Args>() -> Command {
        Command::new("orders").subcommand(T::augment_args(Command::new("test")))
    }

    /// `T` as the flags and the variables say.
    pub(in crate::config) fn resolve<T: Args>(
        flags: &[&str],
        variables: Variables,
    ) -> Result<(T, Settings), Failure> {
        let command = command::<T>();
        let arguments = ["orders", "test"].iter().chain(flags);
        let arguments: Vec<OsString> = arguments.map(OsString::from).collect();
        let flags = command_line(&command, &arguments).unwrap();
        let (matches, settings) = Settings::resolve(command, &arguments, &flags, variables)?;
        let (_, matches) = matches.subcommand().unwrap();
        Ok((T::from_arg_matches(matches).unwrap(), settings))
    }

    /// As [`resolve`], with variables of the process alone and the error's text.
    pub(in crate::config) fn from_variables<T: Args>(pairs: &[(&str, &str)]) -> Result<T, String> {
        let resolved = resolve(&[], Variables::of_process(pairs.iter().copied()));
        resolved
            .map(|(args, _)| args)
            .map_err(|error| error.to_string())
    }

    #[derive(Args)]
    struct Example {
        /// A number
        #[arg(long, env = "LIMIT", default_value = "7", value_parser = limit)]
        limit: u64,
        /// A database
        #[arg(long, env = "DB_URL")]
        db_url: Option<String>,
        /// Properties
        #[arg(short = 'X')]
        properties: Vec<String>,
    }

    fn limit(text: &str) -> Result<u64, Invalid> {
        text.parse()
            .map_err(|_| Invalid::expected(text, "a number"))
    }

    fn variables() -> Variables {
        let mut variables = Variables::of_process([("LIMIT", "process")]);
        variables.file.insert("LIMIT".into(), "file".into());
        variables.path = ".env".into();
        variables
    }

    fn refused(flags: &[&str], variables: Variables) -> String {
        resolve::<Example>(flags, variables)
            .err()
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_flag_beats_the_process_and_the_process_beats_the_file() {
        let expected = "`--limit` is `flag`, expected a number";
        assert_eq!(refused(&["--limit", "flag"], variables()), expected);
        assert_eq!(
            refused(&[], variables()),
            "`LIMIT` is `process`, expected a number"
        );
        let mut variables = variables();
        for unset in ["", " "] {
            variables.process.insert("LIMIT".into(), unset.into());
            let expected = "`LIMIT` (in `.env`) is `file`, expected a number";
            assert_eq!(refused(&[], variables.clone()), expected);
        }
        variables.file.clear();
        assert_eq!(resolve::<Example>(&[], variables).unwrap().0.limit, 7);
    }

    #[test]
    fn a_variable_that_a_flag_overrides_is_not_looked_at() {
        let (example, _) = resolve::<Example>(&["--limit", "3"], variables()).unwrap();
        assert_eq!(example.limit, 3);
    }

    #[test]
    fn an_empty_flag_is_an_error() {
        assert_eq!(
            refused(&["--limit", ""], Variables::default()),
            "`--limit` is empty"
        );
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_an_error_only_when_asked_for() {
        use std::os::unix::ffi::OsStringExt;
        let invalid = || OsString::from_vec(vec![0xff]);
        let mut variables = Variables::default();
        variables.process.insert("OTHER".into(), invalid());
        assert!(resolve::<Example>(&[], variables.clone()).is_ok());
        variables.process.insert("DB_URL".into(), invalid());
        assert_eq!(refused(&[], variables), "`DB_URL` is not valid UTF-8");
    }

    #[test]
    fn entries_tell_where_each_value_comes_from_and_mask_secrets() {
        let mut variables = Variables::default();
        let url = "postgresql://me:s3cret@db/orders";
        variables.file.insert("DB_URL".into(), url.into());
        variables.path = "prod.env".into();
        let flags = ["-X", "sasl.password=s3cret"];
        let (example, settings) = resolve::<Example>(&flags, variables).unwrap();
        assert_eq!(example.db_url.as_deref(), Some(url));
        assert_eq!(example.properties, ["sasl.password=s3cret"]);
        let expected = serde_json::json!([
            { "name": "LIMIT", "value": "7", "origin": "default" },
            { "name": "DB_URL", "value": "postgresql://me:***@db/orders", "origin": "prod.env" },
            { "name": "-X", "value": "sasl.password=***", "origin": "flag" },
        ]);
        assert_eq!(serde_json::json!(settings.entries()), expected);
    }
}
