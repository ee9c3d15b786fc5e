//! The operators' port of a running service, with `/livez`, `/readyz` and `/metrics`, and its control
//! socket.
//!
//! Owns their threads; the responses come from [`Health`]. The port has a thread and a runtime of
//! its own, so that it answers when the API's runtime is stuck, and in the consumer, which has none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tracing::info;

use crate::access::{Access, Denial, Scope, TokenFile};
use crate::escape::escape;
use crate::http_server::{self, Connections, Limits, WhenFull, descriptors};
use crate::shutdown::Shutdown;

pub mod control_folder;
mod control_messages;
mod control_socket;
mod exposition;
mod heartbeat;
mod histogram;
pub mod metrics;
mod process;

pub use control_messages::{Addresses, ServiceSettings, ServiceStatus};
use control_socket::ControlSocket;
pub use control_socket::Service;
use exposition::{Format, exposition};
pub use heartbeat::Heartbeat;
pub use histogram::Histogram;

/// The limits of the operators' port. Its clients send one small head and read one response.
const LIMITS: Limits = Limits {
    max_connections: 64,
    when_full: WhenFull::CutLongest,
    head_timeout: Duration::from_secs(2),
    max_head_bytes: 8 << 10,
    keep_alive: Duration::from_secs(75),
    drain_timeout: Duration::from_millis(500),
};

/// How long, and how much of, a refused body is read before the response: closing a socket with
/// unread bytes resets it, and a reset may overtake the response.
const DISCARD_TIMEOUT: Duration = Duration::from_millis(100);
const DISCARD_BYTES: usize = 1 << 20;

/// The health of a service. Called on the threads of this module; must not block for long.
pub trait Health: Send + Sync {
    /// `Err` with the reason when a loop is stuck, so that a supervisor should restart the process.
    fn live(&self) -> Result<(), String>;

    /// Every condition of readiness; ready means that all are met.
    fn ready(&self) -> Vec<Check>;

    /// The service's metrics in the text format of OpenMetrics, without the line that ends it.
    fn metrics(&self) -> String;
}

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// The running operators' port and control socket; dropping it stops both.
pub struct Admin {
    addr: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
    _control_socket: Option<ControlSocket>,
}

impl Admin {
    /// Raises the descriptor limit, binds `addr`, creates the control socket, and serves both. A port
    /// in use is an error that names the flag. Requests to the port must satisfy `access`.
    pub fn start(
        addr: SocketAddr,
        access: Access,
        service: Service,
        health: Arc<dyn Health>,
    ) -> anyhow::Result<Admin> {
        descriptors::raise_limit();
        let listener = http_server::bind(addr, "--admin-addr", "ADMIN_ADDR")?;
        let addr = listener
            .local_addr()
            .context("asking for the operators' address")?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("starting the runtime of the operators' port")?;
        let listener = runtime
            .block_on(async { TcpListener::from_std(listener) })
            .context("serving the operators' port")?;
        let shutdown = Shutdown::manual();
        let stop = shutdown.clone();
        let connections = Arc::new(Connections::new(LIMITS));
        let control_socket = ControlSocket::start(service, addr, health.clone());
        let port = Arc::new(Port { access, health });
        let handler = move |_, request| respond(port.clone(), request);
        let thread = thread::Builder::new()
            .name("operators-port".into())
            .spawn(move || {
                runtime.block_on(http_server::serve(listener, connections, handler, stop));
            })
            .context("starting the thread `operators-port`")?;
        info!("operators' port on http://{addr}");
        Ok(Admin {
            addr,
            shutdown,
            thread: Some(thread),
            _control_socket: control_socket,
        })
    }

    /// The address, with the port that was picked.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.shutdown.request();
        // A panic of the port's thread was printed when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What requests are answered from.
struct Port {
    access: Access,
    health: Arc<dyn Health>,
}

async fn respond(port: Arc<Port>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    // A client that sent `Expect` waits for the response before it sends its body.
    if has_body && !head.headers.contains_key(EXPECT) {
        let _ = timeout(DISCARD_TIMEOUT, http_server::discard(body, DISCARD_BYTES)).await;
    }
    let host = port.access.host(head.version, &head.uri, &head.headers);
    let mut response = if let Err(error) = host {
        (error.status(), format!("{error}\n")).into_response()
    } else if !matches!(head.method, Method::GET | Method::HEAD) {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        (status, [(ALLOW, "GET, HEAD")], "method not allowed\n").into_response()
    } else if has_body {
        (StatusCode::PAYLOAD_TOO_LARGE, "a body is not accepted\n").into_response()
    } else {
        port.page(&head)
    };
    if has_body {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

impl Port {
    /// What a path shows. Whether the service is live and ready everybody may know, why not only
    /// those with the scope `operator`.
    fn page(&self, head: &Parts) -> Response<Body> {
        let allowed = || self.access.authorize(&head.headers, Scope::Operator);
        match head.uri.path() {
            "/livez" => match self.health.live() {
                Ok(()) => "ok\n".into_response(),
                Err(reason) => {
                    let text = allowed().map_or("FAIL\n".into(), |()| format!("FAIL {reason}\n"));
                    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
                }
            },
            "/readyz" => {
                let mut pairs = head.uri.query().unwrap_or_default().split('&');
                let is_verbose = pairs.any(|pair| pair.split('=').next() == Some("verbose"));
                self.readiness(is_verbose, allowed)
            }
            "/metrics" => match allowed() {
                Ok(()) => {
                    let format = Format::of(&head.headers);
                    let metrics = exposition(&self.health.metrics(), &self.health.ready(), format);
                    ([(CONTENT_TYPE, format.content_type())], metrics).into_response()
                }
                Err(denial) => denied(denial),
            },
            _ => {
                let hint = "no such path: try /livez, /readyz?verbose or /metrics\n";
                (StatusCode::NOT_FOUND, hint).into_response()
            }
        }
    }

    fn readiness(
        &self,
        is_verbose: bool,
        allowed: impl Fn() -> Result<(), Denial>,
    ) -> Response<Body> {
        if is_verbose && let Err(denial) = allowed() {
            return denied(denial);
        }
        let mut checks = self.health.ready();
        let tokens = self.access.token_file().and_then(TokenFile::error);
        checks.extend(tokens.map(|detail| Check {
            name: "tokens".into(),
            // Clients with a token that is still valid are served.
            ok: true,
            detail,
        }));
        let status = match checks.iter().all(|check| check.ok) {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = match status == StatusCode::OK || allowed().is_ok() {
            true => readiness(&checks, is_verbose),
            false => "FAIL\n".into(),
        };
        (status, text).into_response()
    }
}

fn denied(denial: Denial) -> Response<Body> {
    let challenge = [(WWW_AUTHENTICATE, denial.challenge())];
    let text = format!("{}\n", denial.detail());
    (denial.status(), challenge, text).into_response()
}

/// `ok`, or the checks that failed; with `is_verbose` every check, one a line.
fn readiness(checks: &[Check], is_verbose: bool) -> String {
    let shown = checks.iter().filter(|check| is_verbose || !check.ok);
    let line = |check: &Check| {
        let Check { name, ok, detail } = check;
        // A reason may be that of another program.
        let detail = escape(detail);
        format!("{} {name}: {detail}\n", if *ok { "ok" } else { "FAIL" })
    };
    let lines: String = shown.map(line).collect();
    match lines.is_empty() {
        true => "ok\n".into(),
        false => lines,
    }
}

#[cfg(test)]
mod tests;
