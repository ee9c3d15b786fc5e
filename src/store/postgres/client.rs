//! A blocking connection: the asynchronous client on a runtime of its own.
//!
//! The crate `postgres` does the same and has no timeout for a server that accepts a connection and
//! then sends nothing, so that the thread that connects stays behind with its socket. Here an attempt
//! that has run out of time is dropped, and its socket with it.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use postgres_openssl::MakeTlsConnector;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Error as PgError, Row, SimpleQueryMessage, Statement, ToStatement};

/// Why a connection was not opened.
pub(super) enum ConnectError {
    /// The runtime could not be made, for lack of descriptors or memory.
    Local(io::Error),
    /// The server did not answer in time.
    Silent,
    /// The client's own reason.
    Client(PgError),
}

impl From<PgError> for ConnectError {
    fn from(error: PgError) -> ConnectError {
        ConnectError::Client(error)
    }
}

/// How long a server may take to be told that a connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection, owned by one thread. It is closed when it is dropped.
pub(super) struct Client {
    // Dropped before the driver, which then ends the session.
    client: tokio_postgres::Client,
    driver: Driver,
}

/// A connection as a task: it must be polled for bytes to move, and ends with the session.
type Connection = Pin<Box<dyn Future<Output = Result<(), PgError>> + Send>>;

/// Moves bytes while a call waits for its answer.
struct Driver {
    /// `None` when the connection has ended.
    connection: Option<Connection>,
    runtime: Runtime,
}

impl Driver {
    fn run<T>(&mut self, call: impl Future<Output = Result<T, PgError>>) -> Result<T, PgError> {
        let connection = &mut self.connection;
        let mut call = pin!(call);
        self.runtime.block_on(poll_fn(|context| {
            if let Some(open) = connection
                && let Poll::Ready(ended) = open.as_mut().poll(context)
            {
                *connection = None;
                // Why the server ended it; the call would only know that it was closed.
                if let Err(error) = ended {
                    return Poll::Ready(Err(error));
                }
            }
            call.as_mut().poll(context)
        }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Sends Terminate; when that fails the server notices that the socket is closed.
            let _ = self
                .runtime
                .block_on(async { timeout(CLOSE_TIMEOUT, connection).await });
        }
    }
}

impl Client {
    /// Connects to the one server of `config` and runs `query` there, both within `limit`. Returns the
    /// first column of its first row too.
    pub(super) fn connect(
        config: &Config,
        tls: MakeTlsConnector,
        query: &str,
        limit: Duration,
    ) -> Result<(Client, Option<String>), ConnectError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Local)?;
        let deadline = Instant::now() + limit;
        let opened = runtime.block_on(async { timeout_at(deadline, config.connect(tls)).await });
        let (client, connection) = opened.map_err(|_| ConnectError::Silent)??;
        let mut client = Client {
            client,
            driver: Driver {
                connection: Some(Box::pin(connection)),
                runtime,
            },
        };
        let Client {
            client: calls,
            driver,
        } = &mut client;
        let asked = driver.run(async { Ok(timeout_at(deadline, calls.simple_query(query)).await) });
        let Ok(messages) = asked? else {
            // It would not take the end of the session either.
            driver.connection = None;
            return Err(ConnectError::Silent);
        };
        let answer = messages?.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok((client, answer))
    }

    /// Begins a transaction, which is rolled back when it is dropped before its commit.
    pub(super) fn transaction(&mut self) -> Result<Transaction<'_>, PgError> {
        self.batch_execute("BEGIN")?;
        Ok(Transaction {
            client: self,
            is_open: true,
        })
    }

    /// Runs statements without parameters.
    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<(), PgError> {
        self.driver.run(self.client.batch_execute(sql))
    }

    /// Runs statements without parameters, whose results are texts.
    pub(super) fn simple_query(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, PgError> {
        self.driver.run(self.client.simple_query(sql))
    }

    /// Prepares a statement.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<Statement, PgError> {
        self.driver.run(self.client.prepare(sql))
    }

    /// Returns how many rows were written.
    pub(super) fn execute<T: ?Sized + ToStatement>(
        &mut self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, PgError> {
        self.driver.run(self.client.execute(statement, parameters))
    }

    /// Returns every row.
    pub(super) fn query<T: ?Sized + ToStatement>(
        &mut self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PgError> {
        self.driver.run(self.client.query(statement, parameters))
    }

    /// Passes on one row after the other as they come, until `each` breaks.
    pub(super) fn query_each(
        &mut self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), PgError> {
        let client = &self.client;
        self.driver.run(async {
            let rows = client.query_raw(statement, parameters.iter().copied());
            let mut rows = pin!(rows.await?);
            while let Some(row) = rows.try_next().await? {
                if each(row).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Returns the one row that there must be.
    pub(super) fn query_one<T: ?Sized + ToStatement>(
        &mut self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, PgError> {
        self.driver
            .run(self.client.query_one(statement, parameters))
    }

    /// Returns the one row that there may be.
    pub(super) fn query_opt<T: ?Sized + ToStatement>(
        &mut self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, PgError> {
        self.driver
            .run(self.client.query_opt(statement, parameters))
    }

    /// Runs `COPY … FROM STDIN BINARY` with these rows.
    pub(super) fn copy_in<V: ToSql + Sync, R: Iterator<Item = V>>(
        &mut self,
        copy: &str,
        types: &[Type],
        rows: impl Iterator<Item = R>,
    ) -> Result<(), PgError> {
        let client = &self.client;
        self.driver.run(async {
            let sink = client.copy_in::<_, Bytes>(copy).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
            let mut values = Vec::with_capacity(types.len());
            for row in rows {
                values.clear();
                values.extend(row);
                writer.as_mut().write_raw(&values).await?;
            }
            writer.finish().await.map(|_| ())
        })
    }
}

/// An open transaction of a connection.
pub(super) struct Transaction<'c> {
    client: &'c mut Client,
    is_open: bool,
}

impl Transaction<'_> {
    /// Commits. A server that has already rolled the transaction back answers Ok all the same.
    pub(super) fn commit(mut self) -> Result<(), PgError> {
        self.is_open = false;
        self.client.batch_execute("COMMIT")
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // The server rolls it back by itself when the connection is lost.
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}
