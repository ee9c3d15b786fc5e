//! The control socket: a Unix socket through which the user's other programs read the state of a
//! service (`/status`) and its configuration (`/config`).
//!
//! Owns the socket's file and the thread that serves it, with tiny_http. The permissions of the folder
//! (`control_folder`) decide who can connect.
//!
//! # Invariants
//!
//! - No failure here ends the process: it is logged as a warning.
//! - The socket is recreated after descriptors ran out. tiny_http 0.12 then ends its accept thread,
//!   often by a panic that the caller cannot see, so the socket is probed while there is no request,
//!   and a server that does not listen any more is replaced. Without a descriptor a probe finds nothing
//!   out, and nothing could be created: the probe that finds one again replaces the server.

use std::env;
use std::mem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::Serialize;
use tiny_http::{Header, Method, Request, Response, Server};
use tracing::{info, warn};

use super::Health;
use super::control_folder::{is_listening, prepare, remove_stale, socket_path};
use super::control_messages::{Addresses, ServiceSettings, ServiceStatus};
use crate::config::Entry;
use crate::shutdown::Shutdown;
use crate::sync::lock;

/// How often the socket is probed while there is no request.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The pause after a server could not be created.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The largest body that is read and dropped.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The description of a service.
#[derive(Clone, Debug)]
pub struct Service {
    /// `api`, `consumer` or `up`.
    pub role: &'static str,
    pub api: Option<SocketAddr>,
    pub settings: Vec<Entry>,
    /// The folder of the socket.
    pub control_folder: PathBuf,
}

/// The sources of the responses.
struct Answers {
    service: Service,
    admin: SocketAddr,
    started: Instant,
    health: Arc<dyn Health>,
}

/// A served socket; dropping it removes it.
pub struct ControlSocket {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    shutdown: Shutdown,
    /// Woken when the socket is dropped.
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
    /// Replaces the server to wake; returns the previous one.
    fn set_server(&self, server: Option<Arc<Server>>) -> Option<Arc<Server>> {
        mem::replace(&mut lock(&self.server), server)
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

/// Serves until the socket is dropped.
fn serve(mut server: Arc<Server>, shared: &Shared, answers: &Arc<Answers>) {
    while !shared.shutdown.is_requested() {
        let failure = match server.recv_timeout(PROBE_INTERVAL) {
            Ok(Some(request)) => {
                answer_in_thread(request, answers.clone());
                continue;
            }
            Ok(None) if shared.shutdown.is_requested() || is_listening(&shared.path) => continue,
            Ok(None) => "it does not listen any more".to_owned(),
            Err(error) => error.to_string(),
        };
        warn!("control socket failed, recreating it: {failure}");
        // Dropping the last reference removes the socket's file.
        drop((server, shared.set_server(None)));
        server = match listen_again(shared, answers) {
            Some(server) => server,
            None => return,
        };
        info!("control socket recreated");
    }
}

/// Creates a server, retrying until it succeeds; `None` when the socket is dropped meanwhile.
fn listen_again(shared: &Shared, answers: &Answers) -> Option<Arc<Server>> {
    while !shared.shutdown.wait_timeout(RETRY_PAUSE) {
        // The folder may have been removed too, after a logout or as an old temporary file.
        let listening =
            prepare(&answers.service.control_folder).and_then(|()| listen(&shared.path));
        if let Ok(server) = listening {
            shared.set_server(Some(server.clone()));
            return Some(server);
        }
    }
    None
}

/// Responds on a thread of its own: a client that sends slowly or does not read blocks no other.
fn answer_in_thread(request: Request, answers: Arc<Answers>) {
    // Dropping a request makes tiny_http allocate the whole rest of its body, and a failed allocation
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
        (Method::Get | Method::Head, "/status") => (200, encode(&answers.status())),
        (Method::Get | Method::Head, "/config") => (200, encode(&answers.settings())),
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
    // The client may have disconnected.
    let _ = request.respond(response);
}

fn encode(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("every key is a text")
}

impl Answers {
    fn status(&self) -> ServiceStatus {
        ServiceStatus {
            role: self.service.role.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            addresses: Addresses {
                api: self.service.api,
                admin: self.admin,
            },
            checks: self.health.ready(),
        }
    }

    fn settings(&self) -> ServiceSettings {
        let folder = env::current_dir().unwrap_or_default();
        ServiceSettings {
            folder: folder.to_string_lossy().into_owned(),
            settings: self.service.settings.clone(),
        }
    }
}
