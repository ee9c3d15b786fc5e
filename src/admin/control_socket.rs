//! The control socket: a Unix socket through which the user's other programs ask a service for its
//! state (`/status`) and its configuration (`/config`).
//!
//! Owns the socket's file and the thread that answers, with tiny_http. Who may ask is decided by the
//! folder (`control_folder`).
//!
//! # Invariants
//!
//! - Nothing here ends the process: what fails is a warning.
//! - The socket comes back after descriptors ran out. tiny_http 0.12 then ends its accept thread for
//!   good, often by a panic of which no error reaches the caller, so the socket is probed while
//!   nobody asks, and a server that does not listen any more is replaced.

use std::mem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::Serialize;
use tiny_http::{Header, Method, Request, Response, Server};
use tracing::{info, warn};

use super::control_folder::{is_listening, prepare, remove_stale, socket_path};
use super::{Check, Health};
use crate::config::Entry;
use crate::shutdown::Shutdown;

/// How often the socket is probed while nobody asks.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The pause after a server could not be made.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The largest body that is read and dropped.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What a service says of itself.
#[derive(Clone, Debug)]
pub struct Service {
    /// `api`, `consumer` or `up`.
    pub role: &'static str,
    pub api: Option<SocketAddr>,
    pub settings: Vec<Entry>,
    /// Where the socket is made.
    pub control_folder: PathBuf,
}

/// What answers are made of.
struct Answers {
    service: Service,
    admin: SocketAddr,
    started: Instant,
    health: Arc<dyn Health>,
}

#[derive(Serialize)]
struct Status<'a> {
    role: &'a str,
    version: &'a str,
    pid: u32,
    uptime_s: u64,
    addresses: Addresses,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Addresses {
    api: Option<SocketAddr>,
    admin: SocketAddr,
}

#[derive(Serialize)]
struct Config<'a> {
    settings: &'a [Entry],
}

/// The socket while it answers; dropping it removes it.
pub struct ControlSocket {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    shutdown: Shutdown,
    /// Whom to wake when the socket is dropped.
    server: Mutex<Option<Arc<Server>>>,
}

impl ControlSocket {
    /// Listens in the service's folder; without a safe folder there is a warning and no socket.
    pub fn start(
        service: Service,
        admin: SocketAddr,
        health: Arc<dyn Health>,
    ) -> Option<ControlSocket> {
        let path = socket_path(&service.control_folder, service.role);
        let answers = Answers {
            service,
            admin,
            started: Instant::now(),
            health,
        };
        let started = start(path, answers);
        started
            .inspect_err(|error| warn!("running without a control socket: {error:#}"))
            .ok()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.shared.shutdown.request();
        if let Some(server) = self.shared.set_server(None) {
            server.unblock();
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Sets the server to wake, and gives back the one before.
    fn set_server(&self, server: Option<Arc<Server>>) -> Option<Arc<Server>> {
        let mut current = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut current, server)
    }
}

fn start(path: PathBuf, answers: Answers) -> anyhow::Result<ControlSocket> {
    let folder = &answers.service.control_folder;
    prepare(folder)?;
    remove_stale(folder);
    let server = listen(&path)?;
    let shared = Arc::new(Shared {
        path,
        shutdown: Shutdown::manual(),
        server: Mutex::new(Some(server.clone())),
    });
    let serving = shared.clone();
    let thread = thread::Builder::new()
        .name("control-socket".into())
        .spawn(move || serve(server, &serving, &Arc::new(answers)))
        .context("starting the thread `control-socket`")?;
    Ok(ControlSocket {
        shared,
        thread: Some(thread),
    })
}

fn listen(path: &Path) -> anyhow::Result<Arc<Server>> {
    let server = Server::http_unix(path)
        .map_err(|error| anyhow!("listening on `{}`: {error}", path.display()))?;
    Ok(Arc::new(server))
}

/// Answers until the socket is dropped.
fn serve(mut server: Arc<Server>, shared: &Shared, answers: &Arc<Answers>) {
    while !shared.shutdown.is_requested() {
        let failure = match server.recv_timeout(PROBE_INTERVAL) {
            Ok(Some(request)) => {
                answer_apart(request, answers.clone());
                continue;
            }
            Ok(None) if shared.shutdown.is_requested() || is_listening(&shared.path) => continue,
            Ok(None) => "it does not listen any more".to_owned(),
            Err(error) => error.to_string(),
        };
        warn!("control socket failed, recreating it: {failure}");
        // The socket's file goes with the last reference.
        drop((server, shared.set_server(None)));
        server = match listen_again(shared, answers) {
            Some(server) => server,
            None => return,
        };
        info!("control socket recreated");
    }
}

/// A new server, retried until there is one; `None` when the socket is dropped meanwhile.
fn listen_again(shared: &Shared, answers: &Answers) -> Option<Arc<Server>> {
    while !shared.shutdown.wait_timeout(RETRY_PAUSE) {
        // The folder may be gone as well: that of a user who logged out, or of old temporary files.
        let listening =
            prepare(&answers.service.control_folder).and_then(|()| listen(&shared.path));
        if let Ok(server) = listening {
            shared.set_server(Some(server.clone()));
            return Some(server);
        }
    }
    None
}

/// Answers on a thread of its own: a client that sends slowly or does not read holds up nobody else.
fn answer_apart(request: Request, answers: Arc<Answers>) {
    // tiny_http allocates the whole rest of a body in order to drop it, and an allocation that fails
    // aborts the process. Such a request is not dropped; its connection stays open.
    if request.body_length() > Some(MAX_BODY_BYTES) {
        warn!("control socket: a request with a body of over 1 MiB is left unanswered");
        mem::forget(request);
        return;
    }
    // Without a thread the request is dropped, which answers 500.
    let _ = thread::Builder::new()
        .name("control-answer".into())
        .spawn(move || answer(request, &answers));
}

fn answer(request: Request, answers: &Answers) {
    let (status, body) = match (request.method(), request.url()) {
        (Method::Get | Method::Head, "/status") => (200, json(&answers.status())),
        (Method::Get | Method::Head, "/config") => (200, json(&answers.config())),
        (_, "/status" | "/config") => (405, r#"{"error":"method not allowed"}"#.into()),
        _ => (
            404,
            r#"{"error":"no such path: try /status or /config"}"#.into(),
        ),
    };
    let header = |name: &str, value: &str| {
        Header::from_bytes(name, value).expect("the header is visible ASCII")
    };
    let mut response = Response::from_string(body)
        .with_status_code(status)
        .with_header(header("Content-Type", "application/json"));
    if status == 405 {
        response.add_header(header("Allow", "GET, HEAD"));
    }
    // A client that left does not concern anybody.
    let _ = request.respond(response);
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the answer has only text keys")
}

impl Answers {
    fn status(&self) -> Status<'_> {
        Status {
            role: self.service.role,
            version: env!("CARGO_PKG_VERSION"),
            pid: process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            addresses: Addresses {
                api: self.service.api,
                admin: self.admin,
            },
            checks: self.health.ready(),
        }
    }

    fn config(&self) -> Config<'_> {
        Config {
            settings: &self.service.settings,
        }
    }
}
