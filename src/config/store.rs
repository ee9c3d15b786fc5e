//! Which database.

use std::fmt;

use super::environment::{ConfigError, Environment, Setting};
use super::redaction::redact;

/// How to reach the database.
#[derive(clap::Args, Clone, Default)]
pub struct StoreArgs {
    /// PostgreSQL, as postgresql://USER@HOST:PORT/DATABASE [env: DB_URL]
    ///
    /// Put a URL with a password into DB_URL: arguments are visible to every user of the machine.
    #[arg(long, value_name = "URL", help_heading = "Database")]
    pub db_url: Option<String>,
}

/// How to reach the database; the URL may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    pub url: String,
}

impl fmt::Debug for StoreArgs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.db_url.as_deref().map(redact);
        formatter
            .debug_struct("StoreArgs")
            .field("db_url", &url)
            .finish()
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StoreSettings")
            .field("url", &redact(&self.url))
            .finish()
    }
}

impl StoreArgs {
    /// Settles the database. DB_URL unset is an error naming it.
    pub fn settle(&self, environment: &Environment) -> Result<StoreSettings, ConfigError> {
        self.settle_optional(environment)?.ok_or_else(|| {
            ConfigError::new("`DB_URL` is not set, and this command needs the database").with_hint(
                "set DB_URL or pass --db-url, such as --db-url postgresql://orders@127.0.0.1/orders",
            )
        })
    }

    /// Settles the database where one is named. A password on the command line is warned of.
    pub fn settle_optional(
        &self,
        environment: &Environment,
    ) -> Result<Option<StoreSettings>, ConfigError> {
        let flag = ("--db-url", self.db_url.as_deref());
        let Some(setting) = environment.setting(flag, "DB_URL")? else {
            return Ok(None);
        };
        check(&setting)?;
        if self.db_url.is_some() && redact(setting.value) != setting.value {
            tracing::warn!(
                "`--db-url` holds a password, which every user of this machine can read in the \
                 list of processes: put it into DB_URL"
            );
        }
        Ok(Some(StoreSettings {
            url: setting.value.to_owned(),
        }))
    }
}

/// The value is never repeated: what is not a URL may be a password.
fn check(setting: &Setting<'_>) -> Result<(), ConfigError> {
    let name = &setting.name;
    if setting.value.starts_with("sqlite:") {
        let message = format!("{name} names a SQLite file, and this version has no embedded store");
        return Err(ConfigError::new(message).with_hint("name a PostgreSQL database"));
    }
    let is_postgres = ["postgresql://", "postgres://"].iter().any(|scheme| {
        setting
            .value
            .strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    if is_postgres {
        return Ok(());
    }
    let message = format!("{name} is not a database URL");
    Err(ConfigError::new(message).with_hint("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(url: &str) -> Result<StoreSettings, String> {
        let environment = Environment::from_pairs([("DB_URL", url)]);
        StoreArgs::default()
            .settle(&environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_database_that_is_missing_or_unknown_is_named_and_its_url_not_repeated() {
        let missing = "`DB_URL` is not set, and this command needs the database";
        assert_eq!(settle("").unwrap_err(), missing);
        let unknown = "`DB_URL` is not a database URL";
        assert_eq!(settle("mysql://me:s3cret@db/orders").unwrap_err(), unknown);
        assert_eq!(settle("postgresql://").unwrap_err(), unknown);
        let error = settle("sqlite:orders.db").unwrap_err();
        assert!(error.starts_with("`DB_URL` names a SQLite file"), "{error}");
    }

    #[test]
    fn both_schemes_of_postgresql_are_taken() {
        for url in ["postgres://me:x@db/orders", "postgresql://me:x@db/orders"] {
            assert_eq!(settle(url).unwrap().url, url);
        }
    }

    #[test]
    fn no_database_is_fine_where_it_is_optional() {
        let settled = StoreArgs::default().settle_optional(&Environment::default());
        assert_eq!(settled, Ok(None));
    }

    #[test]
    fn a_password_is_not_printed_by_debug() {
        let args = StoreArgs {
            db_url: Some("postgres://me:s3cret@db/orders".into()),
        };
        let settings = args.settle(&Environment::default()).unwrap();
        assert!(!format!("{args:?} {settings:?}").contains("s3cret"));
    }
}
