//! Which database.

use std::fmt;
use std::path::PathBuf;

use super::data::DataArgs;
use super::invalid::Invalid;
use super::redaction::redact_url;
use crate::exit::Failure;

/// How to reach the database.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct StoreArgs {
    /// Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE
    ///
    /// When neither this nor KAFKA_BROKERS is set, orders are kept in a file of the data folder.
    /// Put a URL with a password into DB_URL: arguments are visible to every user of the machine.
    #[arg(long, env = "DB_URL", value_name = "URL", value_parser = database)]
    db_url: Option<StoreSettings>,
}

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// The URL may have a password.
    Postgres { url: String },
    /// The file of the embedded store.
    Sqlite { file: PathBuf },
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreSettings::Postgres { url } => formatter
                .debug_struct("Postgres")
                .field("url", &redact_url(url))
                .finish(),
            StoreSettings::Sqlite { file } => formatter
                .debug_struct("Sqlite")
                .field("file", file)
                .finish(),
        }
    }
}

impl StoreSettings {
    /// Which database, for the first log line: without any part of a URL.
    pub fn describe(&self) -> String {
        match self {
            // Any part of a URL that nobody has parsed yet may be a secret.
            StoreSettings::Postgres { .. } => "PostgreSQL".into(),
            StoreSettings::Sqlite { file } => format!("sqlite:{}", file.display()),
        }
    }
}

impl StoreArgs {
    /// The database; the embedded one when neither a log nor a database is named.
    ///
    /// # Errors
    ///
    /// A log is named and no database: production orders must not be written into a local file
    /// unknowingly.
    pub fn resolve(&self, data: &DataArgs, is_log_named: bool) -> Result<StoreSettings, Failure> {
        let settings = self.resolve_optional(data, is_log_named);
        settings.ok_or_else(|| {
            Failure::usage("a log is named and `DB_URL` is not set").hint(
                "set DB_URL or pass --db-url, such as --db-url postgresql://orders@127.0.0.1/orders; \
                 sqlite:FILE keeps the orders in a file",
            )
        })
    }

    /// As [`StoreArgs::resolve`]; `None` when a log is named and no database.
    pub(super) fn resolve_optional(
        &self,
        data: &DataArgs,
        is_log_named: bool,
    ) -> Option<StoreSettings> {
        let embedded = || StoreSettings::Sqlite {
            file: data.folder().store(),
        };
        self.db_url
            .clone()
            .or_else(|| (!is_log_named).then(embedded))
    }

    pub(super) fn is_named(&self) -> bool {
        self.db_url.is_some()
    }
}

/// The value is never repeated: what is not a URL may be a password.
fn database(text: &str) -> Result<StoreSettings, Invalid> {
    if let Some(file) = text.strip_prefix("sqlite:")
        && !file.trim_matches('/').is_empty()
    {
        // As in other programs, `sqlite:///orders.db` is the file `/orders.db`.
        let file = file.strip_prefix("//").unwrap_or(file).into();
        return Ok(StoreSettings::Sqlite { file });
    }
    let mut schemes = ["postgresql://", "postgres://"].iter();
    let is_postgres = schemes.any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    match is_postgres {
        true => Ok(StoreSettings::Postgres { url: text.into() }),
        false => Err(Invalid::new("is not a database URL")
            .hint("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or sqlite:FILE")),
    }
}
