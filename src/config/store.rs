//! Which database.

use std::fmt;
use std::path::PathBuf;

use super::data::DataArgs;
use super::environment::{ConfigError, Environment, Setting};
use super::log::LogArgs;
use super::redaction::redact;

/// How to reach the database.
#[derive(clap::Args, Clone, Default)]
pub struct StoreArgs {
    /// Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE [env: DB_URL]
    ///
    /// When neither this nor KAFKA_BROKERS is set, orders are kept in a file of the data folder.
    /// Put a URL with a password into DB_URL: arguments are visible to every user of the machine.
    #[arg(long, value_name = "URL", help_heading = "Database")]
    pub db_url: Option<String>,
}

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// The URL may hold a password.
    Postgres { url: String },
    /// The file of the embedded store.
    Sqlite { file: PathBuf },
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
        match self {
            StoreSettings::Postgres { url } => formatter
                .debug_struct("Postgres")
                .field("url", &redact(url))
                .finish(),
            StoreSettings::Sqlite { file } => formatter
                .debug_struct("Sqlite")
                .field("file", file)
                .finish(),
        }
    }
}

impl StoreArgs {
    /// Settles the database. Neither a log nor a database named is the embedded one; a log alone is
    /// an error, lest production orders be written into a local file unknowingly.
    pub fn settle(
        &self,
        environment: &Environment,
        log: &LogArgs,
        data: &DataArgs,
    ) -> Result<StoreSettings, ConfigError> {
        self.settle_optional(environment, log, data)?.ok_or_else(|| {
            ConfigError::new("a log is named and `DB_URL` is not set").with_hint(
                "set DB_URL or pass --db-url, such as --db-url postgresql://orders@127.0.0.1/orders; \
                 sqlite:FILE keeps the orders in a file",
            )
        })
    }

    /// Settles the database; `None` when a log is named and no database is. A password on the command
    /// line is warned of.
    pub fn settle_optional(
        &self,
        environment: &Environment,
        log: &LogArgs,
        data: &DataArgs,
    ) -> Result<Option<StoreSettings>, ConfigError> {
        let Some(setting) = self.named(environment)? else {
            return match log.named(environment)? {
                Some(_) => Ok(None),
                None => Ok(Some(StoreSettings::Sqlite {
                    file: data.settle(environment)?.store(),
                })),
            };
        };
        let settings = read(&setting)?;
        if self.db_url.is_some() && redact(setting.value) != setting.value {
            tracing::warn!(
                "`--db-url` holds a password, which every user of this machine can read in the \
                 list of processes: put it into DB_URL"
            );
        }
        Ok(Some(settings))
    }

    /// The database, where one is named.
    pub(super) fn named<'a>(
        &'a self,
        environment: &'a Environment,
    ) -> Result<Option<Setting<'a>>, ConfigError> {
        environment.setting(("--db-url", self.db_url.as_deref()), "DB_URL")
    }
}

/// The value is never repeated: what is not a URL may be a password.
fn read(setting: &Setting<'_>) -> Result<StoreSettings, ConfigError> {
    if let Some(file) = setting.value.strip_prefix("sqlite:")
        && !file.trim_matches('/').is_empty()
    {
        // As in other programs, `sqlite:///orders.db` is the file `/orders.db`.
        let file = file.strip_prefix("//").unwrap_or(file).into();
        return Ok(StoreSettings::Sqlite { file });
    }
    let is_postgres = ["postgresql://", "postgres://"].iter().any(|scheme| {
        setting
            .value
            .strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    if is_postgres {
        return Ok(StoreSettings::Postgres {
            url: setting.value.to_owned(),
        });
    }
    let message = format!("{} is not a database URL", setting.name);
    Err(ConfigError::new(message)
        .with_hint("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or sqlite:FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(pairs: &[(&str, &str)]) -> Result<StoreSettings, String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        StoreArgs::default()
            .settle(&environment, &LogArgs::default(), &DataArgs::default())
            .map_err(|error| error.to_string())
    }

    fn sqlite(file: &str) -> Result<StoreSettings, String> {
        Ok(StoreSettings::Sqlite { file: file.into() })
    }

    #[test]
    fn nothing_named_is_the_embedded_store_and_a_log_alone_is_an_error() {
        assert_eq!(settle(&[]), sqlite("./orders-data/store.db"));
        assert_eq!(settle(&[("ORDERS_DATA_DIR", "/d")]), sqlite("/d/store.db"));
        for brokers in ["127.0.0.1:9092", "embedded"] {
            let error = settle(&[("KAFKA_BROKERS", brokers)]).unwrap_err();
            assert_eq!(error, "a log is named and `DB_URL` is not set");
        }
    }

    #[test]
    fn a_database_that_is_unknown_is_named_and_its_url_not_repeated() {
        let unknown = "`DB_URL` is not a database URL";
        for url in [
            "mysql://me:s3cret@db/orders",
            "postgresql://",
            "sqlite:",
            "sqlite://",
        ] {
            assert_eq!(settle(&[("DB_URL", url)]).unwrap_err(), unknown, "{url}");
        }
    }

    #[test]
    fn both_schemes_of_postgresql_and_files_of_sqlite_are_taken() {
        for url in ["postgres://me:x@db/orders", "postgresql://me:x@db/orders"] {
            let expected = StoreSettings::Postgres { url: url.into() };
            assert_eq!(settle(&[("DB_URL", url)]), Ok(expected));
        }
        assert_eq!(settle(&[("DB_URL", "sqlite:a/b.db")]), sqlite("a/b.db"));
        assert_eq!(settle(&[("DB_URL", "sqlite:///a/b.db")]), sqlite("/a/b.db"));
    }

    #[test]
    fn no_database_is_fine_where_it_is_optional() {
        let environment = Environment::from_pairs([("KAFKA_BROKERS", "a:1")]);
        let nothing = (LogArgs::default(), DataArgs::default());
        let settled = StoreArgs::default().settle_optional(&environment, &nothing.0, &nothing.1);
        assert_eq!(settled, Ok(None));
    }

    #[test]
    fn a_password_is_not_printed_by_debug() {
        let args = StoreArgs {
            db_url: Some("postgres://me:s3cret@db/orders".into()),
        };
        let nothing = (LogArgs::default(), DataArgs::default());
        let settings = args
            .settle(&Environment::default(), &nothing.0, &nothing.1)
            .unwrap();
        assert!(!format!("{args:?} {settings:?}").contains("s3cret"));
    }
}
