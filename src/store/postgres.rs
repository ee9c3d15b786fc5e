//! The store on PostgreSQL.
//!
//! Owns connecting, TLS included. In `postgres/`: `transaction` provides the steps of a write,
//! `positions`, `dead_letters`, `gaps` and `rows` their statements, `lookup` and `snapshot` read,
//! by `orders` and `pages`, `schema` migrates, `errors` classifies.
//!
//! # Invariants
//!
//! rust-postgres answers Ok to a COMMIT that the server turned into a ROLLBACK, so a statement that
//! fails in a lost transaction always runs right before it.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use ::postgres::config::Host;
use ::postgres::{Client, Config, Error as PgError};
use postgres_openssl::MakeTlsConnector;

use self::errors::connect_error;
use self::schema::PostgresSchema;
use self::snapshot::PostgresSnapshot;
use self::statements::Statements;
use super::{
    Applied, AppliedMigration, Batch, Claim, Holder, LatestOrders, LookupResults, OrderStore,
    Position, RejectionWindow, Schema, Snapshot, StartDecision, StoreEngine, StoreError, apply,
};
use crate::timeouts::timeouts;

mod dead_letters;
mod errors;
mod gaps;
mod handshake;
mod lookup;
mod micros;
mod orders;
mod pages;
mod positions;
mod rows;
mod schema;
mod snapshot;
mod statements;
mod tls;
mod transaction;
mod url;

/// Server-side settings of a connection. The limits do not help against a server that stopped
/// responding: the consumer abandons such a lane. Without `jit=off` the server compiles a query
/// whose estimated cost is high, as on tables without statistics, at each execution: 30 ms and more
/// for a lookup that runs for 0.2 ms.
const SESSION: &str = "-c statement_timeout=30000 -c lock_timeout=10000 \
     -c idle_in_transaction_session_timeout=30000 -c timezone=UTC -c synchronous_commit=on \
     -c jit=off";

/// A PostgreSQL database that connections can be opened to.
pub struct PostgresEngine {
    config: Config,
    tls: MakeTlsConnector,
    /// Host, port and database, without secrets.
    address: String,
    /// Threads that are still connecting after the handshake timeout.
    stuck_threads: Arc<AtomicUsize>,
}

impl PostgresEngine {
    /// Reads a `postgresql://` URL, including `sslmode` and `sslrootcert`; does not connect.
    /// [`StoreError::Misconfigured`] when the URL or a certificate file is wrong.
    pub fn new(url: &str) -> Result<PostgresEngine, StoreError> {
        let parts = url::split(url).map_err(StoreError::Misconfigured)?;
        let mut config: Config = parts.plain.parse().map_err(|error: PgError| {
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            StoreError::Misconfigured(format!("the database URL cannot be read: {reason}"))
        })?;
        config
            .ssl_mode(tls::client_mode(parts.ssl_mode))
            .application_name("orders")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(10));
        let options = config.get_options().map_or_else(
            || SESSION.to_string(),
            // The last value of an option applies: the URL must not override these.
            |options| format!("{options} {SESSION}"),
        );
        config.options(&options);
        Ok(PostgresEngine {
            tls: tls::connector(parts.ssl_mode, parts.root_cert.as_deref())?,
            address: address(&config),
            config,
            stuck_threads: Arc::default(),
        })
    }

    /// Connects on a separate thread: the client's timeout ends when the server has accepted, and a
    /// frozen server may then never respond.
    fn open(&self) -> Result<Client, StoreError> {
        let failed =
            |what: &str| StoreError::Unavailable(format!("{what} (at `{}`)", self.address));
        let unresponsive = || failed("it accepts connections and does not respond");
        // Each attempt could leave another thread behind: none is made before the server responds.
        if self.stuck_threads.load(Ordering::Relaxed) > 0 && !handshake::responds(&self.config) {
            return Err(unresponsive());
        }
        let (sender, opened) = sync_channel(0);
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let stuck_threads = self.stuck_threads.clone();
        let connecting = thread::Builder::new().spawn(move || {
            let client = config.connect(tls);
            // The channel has no buffer: what is sent is received, unless the receiver timed out.
            if sender.send(client).is_err() {
                stuck_threads.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if connecting.is_err() {
            return Err(failed("no thread could be started to connect"));
        }
        match opened.recv_timeout(timeouts().handshake) {
            Ok(client) => client.map_err(|error| connect_error(error, &self.address)),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck_threads.fetch_add(1, Ordering::Relaxed);
                Err(unresponsive())
            }
            // The client panics on its thread when no descriptor is left for its event loop. That
            // is temporary.
            Err(RecvTimeoutError::Disconnected) => Err(failed(
                "the client could not be set up for lack of descriptors or memory",
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
        Ok(Box::new(PostgresSchema::new(self.open()?)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(PostgresSnapshot::begin(self.open()?)?))
    }

    fn describe(&self) -> String {
        self.address.clone()
    }
}

fn address(config: &Config) -> String {
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

/// One connection with its prepared statements.
struct PostgresStore {
    client: Client,
    statements: Statements,
}

impl OrderStore for PostgresStore {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        positions::acquire(&mut self.client, claim)
    }

    fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        apply::commit_start(self, claim, decision)
    }

    fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        apply::apply(self, batch, window)
    }

    fn lookup(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, StoreError> {
        self.read_uids(log_id, uids)
    }

    fn latest(&mut self, log_id: &str, limit: usize) -> Result<LatestOrders, StoreError> {
        self.read_latest(log_id, limit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        let found = positions::find(&mut self.client, log_id, partition)?;
        Ok(found.map(|found| found.position))
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        let found = positions::find(&mut self.client, &claim.log_id, claim.partition)?;
        Ok(found.and_then(|found| found.other_than(claim.owner)))
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        schema::history(&mut self.client)
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.client.simple_query("SELECT 1")?;
        Ok(())
    }
}
