//! The store on PostgreSQL: the one file that names the postgres crate.
//!
//! Owns connecting (TLS included) and what database errors mean; the parts live in `postgres/`:
//! `positions`, `apply` (batches), `lookup` (reading) and `schema` (migrations). The
//! surprising thing: rust-postgres answers Ok to a COMMIT that the server turned into a ROLLBACK, so
//! a statement that can fail always runs right before it.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use ::postgres::binary_copy::BinaryCopyInWriter;
use ::postgres::config::Host;
use ::postgres::config::SslMode;
use ::postgres::error::SqlState;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Client, Config, Error as PgError, Row, Statement, Transaction};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;

use super::*;
use crate::timeouts::timeouts;

mod apply;
mod handshake;
mod leftovers;
mod lookup;
mod positions;
mod rows;
mod schema;
mod snapshot;
mod url;

/// Server-side limits of a connection that serves the pipeline. They do not help against a server
/// that stopped answering: the consumer gives such a lane up.
const SESSION: &str = "-c statement_timeout=30000 -c lock_timeout=10000 \
     -c idle_in_transaction_session_timeout=30000 -c timezone=UTC -c synchronous_commit=on";

/// A PostgreSQL database that connections can be opened to.
pub struct PostgresEngine {
    config: Config,
    tls: MakeTlsConnector,
    described: String,
    left_behind: Arc<AtomicUsize>,
}

impl PostgresEngine {
    /// Reads a `postgresql://` URL, `sslmode` up to `verify-full` and `sslrootcert` included, and
    /// connects nothing. [`StoreError::Misconfigured`] when the URL or a certificate file is wrong.
    pub fn new(url: &str) -> Result<PostgresEngine, StoreError> {
        let parts = url::split(url).map_err(StoreError::Misconfigured)?;
        let mut config: Config = parts.plain.parse().map_err(|error: PgError| {
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            StoreError::Misconfigured(format!("the database URL cannot be read: {reason}"))
        })?;
        config
            .ssl_mode(parts.ssl.mode())
            .application_name("orders")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(10));
        let options = config.get_options().map_or_else(
            || SESSION.to_string(),
            // Ours come last: a promise must not depend on the URL.
            |theirs| format!("{theirs} {SESSION}"),
        );
        config.options(&options);
        let tls = parts.ssl.connector(parts.root_cert.as_deref())?;
        let described = describe(&config);
        Ok(PostgresEngine {
            config,
            tls,
            described,
            left_behind: Arc::default(),
        })
    }

    /// Connects on a thread of its own: the client's timeout ends when the server has accepted, and
    /// a frozen one may take for ever over the first word.
    fn open(&self) -> Result<Client, StoreError> {
        let silent =
            |what: &str| StoreError::Unavailable(format!("{what} (at `{}`)", self.described));
        // Threads stay behind at a silent server; no further ones until it is heard again.
        if self.left_behind.load(Ordering::Relaxed) > 0 && !handshake::responds(&self.config) {
            return Err(silent("it accepts connections and does not answer"));
        }
        let (sender, opened) = sync_channel(0);
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let left_behind = self.left_behind.clone();
        let connecting = std::thread::Builder::new().spawn(move || {
            let client = config.connect(tls);
            // Without a buffer: sent is taken. Nobody takes it any more when this one was too late.
            if sender.send(client).is_err() {
                left_behind.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if connecting.is_err() {
            return Err(silent("no thread could be started to connect"));
        }
        match opened.recv_timeout(timeouts().handshake) {
            Ok(client) => client.map_err(|error| classify_connect(&error, &self.described)),
            Err(RecvTimeoutError::Timeout) => {
                self.left_behind.fetch_add(1, Ordering::Relaxed);
                Err(silent("it accepts connections and does not answer"))
            }
            // The client panics where the process has no descriptor left for its event loop. That
            // passes, and ends no other thread than its own.
            Err(RecvTimeoutError::Disconnected) => Err(silent(
                "the client could not be set up, for want of descriptors or memory",
            )),
        }
    }
}

impl StoreEngine for PostgresEngine {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        Ok(Box::new(PostgresStore {
            client: self.open()?,
            statements: Statements::default(),
        }))
    }

    fn schema(&self) -> Result<Box<dyn Schema>, StoreError> {
        Ok(Box::new(schema::PostgresSchema::open(self.open()?)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::PostgresSnapshot::begin(self.open()?)?))
    }

    fn describe(&self) -> String {
        self.described.clone()
    }
}

fn describe(config: &Config) -> String {
    use ::postgres::config::Host;
    let host = config.get_hosts().first().map_or_else(
        || "localhost".to_string(),
        |host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        },
    );
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or("postgres");
    format!("{host}:{port}/{database}")
}

impl url::Ssl {
    fn mode(self) -> SslMode {
        match self {
            url::Ssl::Disable => SslMode::Disable,
            url::Ssl::Prefer => SslMode::Prefer,
            // Verification is the connector's; here only: never in plain.
            url::Ssl::Require | url::Ssl::VerifyCa | url::Ssl::VerifyFull => SslMode::Require,
        }
    }

    /// A connector that verifies what the mode promises, and fails closed.
    fn connector(self, root_cert: Option<&str>) -> Result<MakeTlsConnector, StoreError> {
        let wrong = |error: openssl::error::ErrorStack| {
            StoreError::Misconfigured(format!("TLS cannot be set up: {error}"))
        };
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(wrong)?;
        match (self, root_cert) {
            (url::Ssl::VerifyCa | url::Ssl::VerifyFull, Some(file)) => {
                builder.set_ca_file(file).map_err(|_| {
                    StoreError::Misconfigured(format!(
                        "the certificates of `sslrootcert={file}` cannot be read"
                    ))
                })?;
            }
            (url::Ssl::VerifyCa | url::Ssl::VerifyFull, None) => {
                if let Some(file) = openssl_probe::probe().cert_file {
                    builder.set_ca_file(file).map_err(wrong)?;
                }
            }
            // As libpq: encrypted, the server not verified.
            _ => builder.set_verify(SslVerifyMode::NONE),
        }
        let mut tls = MakeTlsConnector::new(builder.build());
        if self != url::Ssl::VerifyFull {
            tls.set_callback(|connection, _| {
                connection.set_verify_hostname(false);
                Ok(())
            });
        }
        Ok(tls)
    }
}

/// What a failed statement means. The match is by SQLSTATE class; what is in no list is
/// [`StoreError::Misconfigured`], because stopping is harmless and losing is not.
fn classify(error: &PgError) -> StoreError {
    let Some(refusal) = error.as_db_error() else {
        let reason = chain(error);
        let came_from_the_wire = error
            .source()
            .is_none_or(|source| source.is::<std::io::Error>());
        return if error.is_closed() || came_from_the_wire {
            StoreError::Unavailable(reason)
        } else {
            // A value that cannot be encoded: it never left this process.
            StoreError::Rejected(reason)
        };
    };
    let code = refusal.code().code();
    let reason = format!("{} (SQLSTATE {code})", refusal.message());
    match code {
        "40001" | "40P01" | "55P03" | "57014" => StoreError::Contended(reason),
        "22001" | "22003" | "22007" | "22008" | "22021" | "22P02" | "23514" => {
            StoreError::Rejected(reason)
        }
        "25006" => StoreError::Unavailable(reason),
        _ if ["08", "53", "57P", "58", "25P"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            StoreError::Unavailable(reason)
        }
        _ => StoreError::Misconfigured(reason),
    }
}

/// What a failed connection attempt means: without a SQLSTATE it is the network, or TLS.
fn classify_connect(error: &PgError, described: &str) -> StoreError {
    let at = |reason: String| format!("{reason} (at `{described}`)");
    if error.as_db_error().is_some() {
        return match classify(error) {
            StoreError::Unavailable(reason) => StoreError::Unavailable(at(reason)),
            StoreError::Contended(reason) => StoreError::Contended(at(reason)),
            StoreError::Rejected(reason) | StoreError::Misconfigured(reason) => {
                StoreError::Misconfigured(at(reason))
            }
            fenced @ StoreError::Fenced(_) => fenced,
        };
    }
    let from_the_network = error
        .source()
        .is_none_or(|source| source.is::<std::io::Error>())
        || error.is_closed();
    if from_the_network {
        StoreError::Unavailable(at(chain(error)))
    } else {
        StoreError::Misconfigured(at(chain(error)))
    }
}

fn chain(error: &PgError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// One connection with its prepared statements.
struct PostgresStore {
    client: Client,
    statements: Statements,
}

/// Prepared once a connection, by their text.
#[derive(Default)]
struct Statements(HashMap<&'static str, Statement>);

impl Statements {
    fn get(
        &mut self,
        transaction: &mut Transaction<'_>,
        sql: &'static str,
    ) -> Result<Statement, PgError> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = transaction.prepare(sql)?;
        self.0.insert(sql, statement.clone());
        Ok(statement)
    }

    fn knows(&self, sql: &'static str) -> bool {
        self.0.contains_key(sql)
    }

    fn get_plain(&mut self, client: &mut Client, sql: &'static str) -> Result<Statement, PgError> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql)?;
        self.0.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl OrderStore for PostgresStore {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        self.acquire_position(claim)
    }

    fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        self.write_start(claim, decision)
    }

    fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        self.apply_batch(batch, window)
    }

    fn lookup(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, StoreError> {
        self.read_lookup(log_id, uids)
    }

    fn latest(&mut self, log_id: &str, limit: usize) -> Result<LatestOrders, StoreError> {
        self.read_latest(log_id, limit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        self.read_position(log_id, partition)
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        self.read_holder(claim)
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        schema::history(&mut self.client)
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.client
            .simple_query("SELECT 1")
            .map(|_| ())
            .map_err(|error| classify(&error))
    }
}

/// A TIMESTAMPTZ as microseconds since the Unix epoch, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Micros(i64);

/// PostgreSQL counts from 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

impl ToSql for Micros {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0.saturating_sub(POSTGRES_EPOCH_US).to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> Result<Micros, Box<dyn std::error::Error + Sync + Send>> {
        let since_2000 = i64::from_be_bytes(raw.try_into()?);
        Ok(Micros(since_2000.saturating_add(POSTGRES_EPOCH_US)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}
