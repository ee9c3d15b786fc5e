//! The HTTP/1 connection loop of both TCP ports, on hyper's own connection.
//!
//! Owns when a connection is accepted, how long it may be silent, slow or unread, and the drain at
//! the end. The handler of a port answers its requests.
//!
//! # Invariants
//!
//! - No error of `accept` ends the loop: without descriptors it pauses and retries.
//! - A connection whose client is silent ends: each state has its timeout, and a shorter one while
//!   nearly all connections are in use.
//! - A client that sends nothing more gets the response to what it has sent, and its connection ends
//!   with it. One that disconnects while it waits is noticed when its response is written.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::shutdown::Shutdown;

mod address;
mod body;
mod connection;
pub mod descriptors;

pub use address::{bind, reachable};
pub use body::discard;
use connection::{Activity, TimedSocket, Waiting};

/// How long a client may be silent while nearly all connections are in use.
const NEARLY_FULL_TIMEOUT: Duration = Duration::from_millis(500);

/// How often the state of a connection is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The pause after `accept` failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits of one port.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many connections are open at once.
    pub max_connections: usize,
    pub when_full: WhenFull,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How large it may be; beyond it hyper answers 431.
    pub max_head_bytes: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long requests may take to finish when the service stops.
    pub drain_timeout: Duration,
}

/// What happens to a new client while all connections are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the kernel's queue.
    Wait,
    /// It replaces the connection that has been silent for longest, or else the one whose request has
    /// taken longest.
    CutLongest,
}

/// The connections of one port: how many there are, and how many there may be.
pub struct Connections {
    limits: Limits,
    /// One permit for each connection that may still be opened.
    permits: Arc<Semaphore>,
    /// Connections cut because their client was too slow.
    pub cut: Counter,
}

impl Connections {
    pub fn new(limits: Limits) -> Connections {
        let max_connections = limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Connections {
            permits: Arc::new(Semaphore::new(max_connections)),
            limits: Limits {
                max_connections,
                ..limits
            },
            cut: Counter::default(),
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.limits.max_connections - self.permits.available_permits()
    }

    /// How many connections may be open at once.
    pub fn max(&self) -> usize {
        self.limits.max_connections
    }

    /// Whether at least nine in ten connections are in use.
    pub fn is_nearly_full(&self) -> bool {
        self.permits.available_permits() * 10 <= self.limits.max_connections
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = self.permits.clone().acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits until every connection has ended, at most the drain timeout.
    async fn drain(&self) {
        let all = u32::try_from(self.limits.max_connections).unwrap_or(u32::MAX);
        let drain_timeout = self.limits.drain_timeout;
        if timeout(drain_timeout, self.permits.acquire_many(all))
            .await
            .is_err()
        {
            warn!(
                "{} connections did not finish within {} s and are dropped",
                self.open(),
                drain_timeout.as_secs_f32()
            );
        }
    }
}

/// Serves `handler`, which gets the client's address with each request, until a stop is requested,
/// then drains.
pub async fn serve<H, F>(
    listener: TcpListener,
    connections: Arc<Connections>,
    handler: H,
    shutdown: Shutdown,
) where
    H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut stopping = pin!(shutdown.requested());
    let mut open = OpenConnections::default();
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections, &mut open) => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((socket, client, permit)) => {
                // A response is written in one piece; Nagle's algorithm would only add 40 ms.
                let _ = socket.set_nodelay(true);
                if std::mem::take(&mut is_failing) {
                    info!("accepting connections again");
                }
                let activity = Arc::new(Activity::new());
                let connection = Connection {
                    connections: connections.clone(),
                    handler: handler.clone(),
                    client,
                    activity: activity.clone(),
                    shutdown: shutdown.clone(),
                };
                let task = tokio::spawn(connection.serve(socket, permit));
                if connections.limits.when_full == WhenFull::CutLongest {
                    open.push(activity, task.abort_handle());
                }
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!("cannot accept connections, retrying: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.drain().await;
}

/// The next connection, its client's address and its permit.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    open: &mut OpenConnections,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    if connections.limits.when_full == WhenFull::Wait {
        // Dropped at once: until a client connects, the connection counts as free.
        drop(connections.permit().await);
    }
    let (socket, client) = listener.accept().await?;
    if connections.permits.available_permits() == 0 && open.cut_longest() {
        connections.cut.inc();
    }
    Ok((socket, client.ip(), connections.permit().await))
}

/// The open connections of a port that cuts one of them when it is full.
#[derive(Default)]
struct OpenConnections(Vec<(Arc<Activity>, AbortHandle)>);

impl OpenConnections {
    fn push(&mut self, activity: Arc<Activity>, task: AbortHandle) {
        self.0.retain(|(_, task)| !task.is_finished());
        self.0.push((activity, task));
    }

    /// Cuts one connection; whether there was any.
    fn cut_longest(&mut self) -> bool {
        self.0.retain(|(_, task)| !task.is_finished());
        let open = self.0.iter().enumerate();
        let longest = open.max_by_key(|(_, (activity, _))| activity.waiting().cut_order());
        let Some((index, _)) = longest else {
            return false;
        };
        let (_, task) = self.0.swap_remove(index);
        task.abort();
        true
    }
}

/// One connection, from its first byte to its end.
struct Connection<H> {
    connections: Arc<Connections>,
    handler: H,
    client: IpAddr,
    activity: Arc<Activity>,
    shutdown: Shutdown,
}

impl<H, F> Connection<H>
where
    H: Fn(IpAddr, Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    async fn serve(self, socket: TcpStream, _permit: OwnedSemaphorePermit) {
        let limits = &self.connections.limits;
        let service = service_fn(|request: Request<Incoming>| {
            self.activity.begin_request();
            let response = (self.handler)(self.client, request);
            let activity = self.activity.clone();
            async move {
                let response = response.await;
                activity.end_request();
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            // A client may shut down its sending half behind its request and wait for the response.
            .half_close(true)
            .max_header_size(limits.max_head_bytes);
        let io = TokioIo::new(TimedSocket::new(socket, self.activity.clone()));
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut stopping = pin!(self.shutdown.requested());
        let mut is_stopping = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    ended.unwrap_or_else(|error| debug!("connection ended: {error}"));
                    return;
                }
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep(CHECK_INTERVAL) => {
                    let is_nearly_full = self.connections.is_nearly_full();
                    match decide(self.activity.waiting(), limits, is_nearly_full) {
                        Verdict::Keep => {}
                        Verdict::Close => connection.as_mut().graceful_shutdown(),
                        Verdict::Cut => {
                            self.connections.cut.inc();
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// What is done with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// It is between requests: close it gracefully.
    Close,
    /// The head of a request is incomplete: drop it.
    Cut,
}

fn decide(waiting: Waiting, limits: &Limits, is_nearly_full: bool) -> Verdict {
    let allowed = |timeout: Duration| match is_nearly_full {
        true => timeout.min(NEARLY_FULL_TIMEOUT),
        false => timeout,
    };
    match waiting {
        Waiting::Head(waited) if waited >= allowed(limits.head_timeout) => Verdict::Cut,
        Waiting::Idle(waited) if waited >= allowed(limits.keep_alive) => Verdict::Close,
        Waiting::Busy(_) | Waiting::Head(_) | Waiting::Idle(_) => Verdict::Keep,
    }
}

/// Whether an error of `accept` comes from a client that disconnected, not from this process.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests;
