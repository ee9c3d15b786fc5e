//! The operators' port of both services: `/livez`, `/readyz`, `/metrics`, on tiny_http.
//!
//! Owns its threads; what is shown comes from [`Health`]. It runs on plain threads, so it answers even
//! when the API's runtime is stuck, and the consumer has none. The public socket and what may come
//! through it belong to `doorman`; tiny_http answers behind it. The surprising thing: tiny_http's
//! accept thread panics when the process runs out of descriptors and never says so. So that server
//! is asked every few seconds and built anew when it does not answer; the descriptor limit is raised
//! at start and the public side kept well below it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiny_http::{Header, Request, Response, Server};
use tracing::{error, info, warn};

use crate::exit::{Exit, Failure};

mod doorman;

/// How often the port asks itself.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// How long it may take to answer itself.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// How many probes in a row must fail before a server that still listens is built anew.
const PATIENCE: u32 = 2;

/// How long serving waits before it looks whether it must end.
const POLL: Duration = Duration::from_millis(250);

/// How long to wait before building again, where that failed.
const REBUILD_PAUSE: Duration = Duration::from_secs(1);

/// Descriptors that the public side must leave: clients of the log, the database, this port, files.
const RESERVED: u64 = 256;

/// How a service is doing. Called from the port's thread; must not block for long.
pub trait Health: Send + Sync {
    /// `Err` with the reason when a loop is stuck, so that a supervisor should restart the process.
    fn live(&self) -> Result<(), String>;

    /// Every condition of readiness; ready means that all are met.
    fn ready(&self) -> Vec<Check>;

    /// Everything in the text format of OpenMetrics.
    fn metrics(&self) -> String;
}

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// The port while it serves; dropping it ends it.
pub struct Admin {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    stopped: AtomicBool,
    /// The server behind the doorman; `None` while there is none.
    server: Mutex<Option<Arc<Server>>>,
}

impl State {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn server(&self) -> Option<Arc<Server>> {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where the server behind the doorman listens.
    fn address(&self) -> Option<SocketAddr> {
        self.server()?.server_addr().to_ip()
    }

    fn use_server(&self, server: Option<Arc<Server>>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

impl Admin {
    /// Raises the descriptor limit, binds `addr` and serves it on threads of its own. A taken port is
    /// an error that names the flag.
    pub fn start(addr: SocketAddr, health: Arc<dyn Health>) -> anyhow::Result<Admin> {
        raise_descriptor_limit();
        let listener = TcpListener::bind(addr).map_err(|error| {
            let message = format!("listening on `{addr}` (`--admin-addr`): {error}");
            let hint =
                "choose another address with --admin-addr or ADMIN_ADDR; port 0 picks a free one";
            Failure::new(Exit::Failed, message).hint(hint)
        })?;
        let addr = listener
            .local_addr()
            .context("asking for the operators' address")?;
        let state = Arc::new(State {
            stopped: AtomicBool::new(false),
            server: Mutex::new(None),
        });
        build(&health, &state)?;
        let (standing, watching) = (state.clone(), state.clone());
        spawn("operators-door", move || {
            doorman::stand(&listener, &standing)
        })?;
        spawn("operators-watch", move || watch(&health, &watching))?;
        info!("operators' port on http://{addr}");
        Ok(Admin { addr, state })
    }

    /// The address, with the port that was picked.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // The doorman waits for a guest: here is the last one.
        let _ = TcpStream::connect_timeout(&reachable(self.addr), PROBE_WITHIN);
    }
}

/// How many public connections fit below the descriptor limit, which is raised first.
pub fn within_descriptors(wanted: usize) -> usize {
    let Some(limit) = raise_descriptor_limit() else {
        return wanted;
    };
    let most = usize::try_from(public_share(limit)).unwrap_or(usize::MAX);
    if wanted > most {
        warn!("taking {most} connections at once, not {wanted}: the descriptor limit is {limit}");
    }
    wanted.min(most)
}

fn public_share(limit: u64) -> u64 {
    limit.saturating_sub(RESERVED.min(limit / 2)).max(1)
}

/// The limit on descriptors after the soft one was raised to the hard one; `None` without a limit.
fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    ) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// A server behind the doorman, with its thread.
fn build(health: &Arc<dyn Health>, state: &Arc<State>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let server = listener
        .and_then(|it| Server::from_listener(it, None).map_err(io::Error::other))
        .map(Arc::new)
        .context("listening on the loopback behind the operators' port")?;
    state.use_server(Some(server.clone()));
    let (health, state) = (health.clone(), state.clone());
    spawn("operators-port", move || serve(&server, &*health, &state))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .with_context(|| format!("starting the thread `{name}`"))?;
    Ok(())
}

/// Answers until the service ends or another server takes this one's place.
fn serve(server: &Arc<Server>, health: &dyn Health, state: &State) {
    let is_current = || {
        state
            .server()
            .is_some_and(|current| Arc::ptr_eq(&current, server))
    };
    while !state.is_stopped() && is_current() {
        match server.recv_timeout(POLL) {
            Ok(Some(request)) => answer(request, health),
            Ok(None) => {}
            // The accept thread has ended; `watch` finds it gone.
            Err(_) => return,
        }
    }
}

/// Asks the server every few seconds and builds it anew when it is dead. The doorman is not asked:
/// it cannot die, and while slow clients have all its places nothing is gained by building.
fn watch(health: &Arc<dyn Health>, state: &Arc<State>) {
    let mut failures = 0;
    while !state.is_stopped() {
        thread::sleep(if failures == 0 {
            PROBE_EVERY
        } else {
            REBUILD_PAUSE
        });
        let closed = || io::Error::from(io::ErrorKind::ConnectionRefused);
        match state.address().ok_or_else(closed).and_then(probe) {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                let is_closed = error.kind() == io::ErrorKind::ConnectionRefused;
                if is_closed || failures >= PATIENCE {
                    rebuild(health, state, &error);
                }
            }
        }
    }
}

fn rebuild(health: &Arc<dyn Health>, state: &Arc<State>, why: &io::Error) {
    if state.server().is_some() {
        warn!("the operators' port does not answer, building it anew: {why}");
    }
    // The old one's serving thread ends by itself.
    state.use_server(None);
    match build(health, state) {
        Ok(()) => info!("the operators' port is built anew"),
        // Tried again after the next probe.
        Err(error) => {
            error!("{error:#}");
            state.use_server(None);
        }
    }
}

/// One request to ourselves, answered in time.
fn probe(addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, PROBE_WITHIN)?;
    stream.set_read_timeout(Some(PROBE_WITHIN))?;
    stream.set_write_timeout(Some(PROBE_WITHIN))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut first = [0; 8];
    stream.read_exact(&mut first)
}

/// Where to reach an address that may stand for every interface.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn answer(request: Request, health: &dyn Health) {
    // The doorman lets in GET and HEAD only.
    let (status, content_type, body) = page(request.url(), health);
    let content_type = Header::from_bytes("Content-Type", content_type);
    let content_type = content_type.expect("the content types are valid headers");
    let response = Response::from_string(body)
        .with_status_code(status)
        .with_header(content_type);
    // A client that left does not concern anybody.
    let _ = request.respond(response);
}

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn page(url: &str, health: &dyn Health) -> (u16, &'static str, String) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let verbose = query
        .split('&')
        .any(|pair| pair == "verbose" || pair.starts_with("verbose="));
    match path {
        "/livez" => match health.live() {
            Ok(()) => (200, TEXT, "ok\n".into()),
            Err(reason) => (503, TEXT, format!("FAIL {reason}\n")),
        },
        "/readyz" => {
            let checks = health.ready();
            let status = if checks.iter().all(|check| check.ok) {
                200
            } else {
                503
            };
            (status, TEXT, readiness(&checks, verbose))
        }
        "/metrics" => (200, OPEN_METRICS, health.metrics()),
        _ => (
            404,
            TEXT,
            "no such path: try /livez, /readyz?verbose or /metrics\n".into(),
        ),
    }
}

/// `ok`, or what is not; with `verbose` every check, one a line.
fn readiness(checks: &[Check], verbose: bool) -> String {
    let shown = checks.iter().filter(|check| verbose || !check.ok);
    let line = |check: &Check| {
        let Check { name, ok, detail } = check;
        format!("{} {name}: {detail}\n", if *ok { "ok" } else { "FAIL" })
    };
    let lines: String = shown.map(line).collect();
    if lines.is_empty() {
        "ok\n".into()
    } else {
        lines
    }
}

#[cfg(test)]
mod tests;
