//! The variables of the process and of the `.env` file; the only reader of the environment.
//!
//! # Invariants
//!
//! - An empty variable counts as unset.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::env_file;
use crate::exit::Failure;
use crate::failpoint;
use crate::store::postgres::variables as postgres_variables;
use crate::timeouts;

/// A variable of go-orders that has no effect.
pub(super) const CACHE_JANITOR_S: &str = "CACHE_JANITOR_S";

/// The token of a client. Without a flag: every user of the machine can read arguments.
pub(super) const ORDERS_TOKEN: &str = "ORDERS_TOKEN";

/// The variables that no argument has.
const WITHOUT_ARGUMENT: [&str; 5] = [
    CACHE_JANITOR_S,
    ORDERS_TOKEN,
    failpoint::VARIABLE,
    timeouts::VARIABLE,
    HOME,
];

/// The folder of libpq's default files.
const HOME: &str = "HOME";

/// The password that libpq uses where a URL has none.
const PGPASSWORD: &str = "PGPASSWORD";

/// Where a value comes from. As text it is `flag`, `environment`, `default` or the file's path.
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

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Origin, D::Error> {
        let text = String::deserialize(text)?;
        Ok(match text.as_str() {
            "flag" => Origin::Flag,
            "environment" => Origin::Environment,
            "default" => Origin::Default,
            _ => Origin::File(text.into()),
        })
    }
}

/// The variables of the process and of the `.env` file.
#[derive(Clone, Default)]
pub struct Variables {
    pub(super) process: BTreeMap<String, OsString>,
    pub(super) file: BTreeMap<String, String>,
    /// Of the file.
    pub(super) path: PathBuf,
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

    /// The value of a variable, that of the process before that of the file, and its origin.
    pub(super) fn get(&self, name: &str) -> Result<Option<(String, Origin)>, Failure> {
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

    /// As [`Variables::get`], for people: what is not UTF-8 is replaced.
    pub(super) fn get_lossy(&self, name: &str) -> Option<(String, Origin)> {
        self.get(name).unwrap_or_else(|_| {
            let value = self.process.get(name)?.to_string_lossy();
            Some((value.into_owned(), Origin::Environment))
        })
    }
}

/// The variables that fill in what a database URL leaves out.
pub(super) fn of_postgres() -> impl Iterator<Item = &'static str> {
    postgres_variables().chain([HOME])
}

/// The editor that the user has chosen for all programs: a command with its arguments.
pub fn editor() -> String {
    let names = ["VISUAL", "EDITOR"].into_iter();
    let mut chosen = names.filter_map(|name| std::env::var(name).ok());
    let chosen = chosen.find(|editor| !editor.trim().is_empty());
    chosen.unwrap_or_else(|| "vi".to_owned())
}

/// The proxy for URLs of this scheme, as curl chooses it; the variables are those of other programs.
pub fn proxy(scheme: &str) -> Option<String> {
    let of_scheme = format!("{scheme}_proxy");
    let names = [&of_scheme, "all_proxy"];
    let names = names.into_iter();
    let mut names = names.flat_map(|name| [name.to_owned(), name.to_ascii_uppercase()]);
    names.find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Every variable of the command and its subcommands.
pub(super) fn names(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(variable_of);
    let inherited = command.get_subcommands().flat_map(names);
    let others = without_argument().map(str::to_owned);
    own.chain(inherited).chain(others).collect()
}

/// The variables that no argument has, whatever the command.
pub(super) fn without_argument() -> impl Iterator<Item = &'static str> {
    WITHOUT_ARGUMENT.into_iter().chain(postgres_variables())
}

/// Whether the whole value of a variable is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    [ORDERS_TOKEN, PGPASSWORD].contains(&name)
}

/// The variable of an argument.
pub(super) fn variable_of(argument: &Arg) -> Option<String> {
    argument
        .get_env()
        .map(|name| name.to_string_lossy().into_owned())
}
