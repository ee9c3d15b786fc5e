//! The accept loop of the public port, over hyper's own http1 builder.
//!
//! Owns when a connection is taken, when it is cut, and the drain; requests are answered in
//! `handlers`. At the cap the loop simply does not accept: clients wait in the kernel's queue, and
//! whoever is silent is cut sooner so that they do not wait long. The surprising thing: no error of
//! `accept` ends the loop. Out of descriptors it sleeps a little and tries again.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::App;
use super::connection::{Guarded, Pulse, Waiting};
use super::handlers;
use crate::shutdown::Shutdown;

/// How long a request's head may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// How long anything silent is borne while nearly all connections are taken.
const CROWDED_DEADLINE: Duration = Duration::from_millis(500);

/// How often a connection's clocks are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long connections may take to finish what they are answering when the service stops.
const DRAIN: Duration = Duration::from_secs(8);

/// How long to wait after `accept` failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The largest head of a request; beyond it hyper answers 431.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// What is to be done with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// It is between requests: close it in good order.
    Close,
    /// It owes us a head: drop it.
    Cut,
}

/// Serves until a stop is requested, then drains for at most 8 s.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: Shutdown) {
    let router = handlers::router(app.clone());
    let mut stopping = pin!(shutdown.requested());
    let mut troubled = false;
    loop {
        let accepting = async {
            let seat = app.connections.clone().acquire_owned().await;
            (
                seat.expect("the seats are never closed"),
                listener.accept().await,
            )
        };
        let (seat, accepted) = tokio::select! {
            accepted = accepting => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((socket, _)) => {
                // An answer is written in one piece; waiting for more would only add 40 ms.
                let _ = socket.set_nodelay(true);
                if std::mem::take(&mut troubled) {
                    info!("connections are accepted again");
                }
                let connection = drive(app.clone(), router.clone(), socket, seat, shutdown.clone());
                tokio::spawn(connection);
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut troubled, true) {
                    warn!("cannot accept connections, trying on: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain(&app).await;
}

/// Waits until every connection has given its seat back.
async fn drain(app: &App) {
    let all = u32::try_from(app.max_connections).unwrap_or(u32::MAX);
    if timeout(DRAIN, app.connections.acquire_many(all))
        .await
        .is_err()
    {
        let left = app.max_connections - app.connections.available_permits();
        warn!(
            "{left} connections did not finish within {} s and are dropped",
            DRAIN.as_secs()
        );
    }
}

/// One connection, from its first byte to its end.
async fn drive(
    app: Arc<App>,
    router: Router,
    socket: TcpStream,
    seat: OwnedSemaphorePermit,
    shutdown: Shutdown,
) {
    app.metrics.connections.inc();
    let pulse = Arc::new(Pulse::new());
    let service = service_fn(|request: Request<Incoming>| {
        pulse.begin();
        let answer = handlers::respond(app.clone(), router.clone(), request.map(Body::new));
        let pulse = pulse.clone();
        async move {
            let response = answer.await;
            pulse.end();
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES);
    let io = TokioIo::new(Guarded::new(socket, pulse.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut stopping = pin!(shutdown.requested());
    let mut stops = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                ended.unwrap_or_else(|error| debug!("a connection ended: {error}"));
                break;
            }
            () = &mut stopping, if !stops => {
                stops = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep(LOOK) => match judge(pulse.waiting(), app.keep_alive(), app.is_crowded()) {
                Verdict::Keep => {}
                Verdict::Close => connection.as_mut().graceful_shutdown(),
                Verdict::Cut => {
                    app.metrics.connections_cut.inc();
                    break;
                }
            },
        }
    }
    app.metrics.connections.dec();
    drop(seat);
}

fn judge(waiting: Waiting, keep_alive: Duration, crowded: bool) -> Verdict {
    let within = |deadline: Duration| {
        if crowded {
            deadline.min(CROWDED_DEADLINE)
        } else {
            deadline
        }
    };
    match waiting {
        Waiting::Head(waited) if waited >= within(HEAD_DEADLINE) => Verdict::Cut,
        Waiting::Idle(waited) if waited >= within(keep_alive) => Verdict::Close,
        Waiting::Busy | Waiting::Head(_) | Waiting::Idle(_) => Verdict::Keep,
    }
}

/// Errors that say something of the client that left, nothing of this process.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_slow_head_is_cut_and_an_idle_connection_closed_in_good_order() {
        let judge = |waiting| judge(waiting, KEEP_ALIVE, false);
        assert_eq!(judge(Waiting::Head(seconds(4.9))), Verdict::Keep);
        assert_eq!(judge(Waiting::Head(seconds(5.0))), Verdict::Cut);
        assert_eq!(judge(Waiting::Idle(seconds(74.9))), Verdict::Keep);
        assert_eq!(judge(Waiting::Idle(seconds(75.0))), Verdict::Close);
        assert_eq!(judge(Waiting::Busy), Verdict::Keep);
    }

    #[test]
    fn while_crowded_nobody_silent_is_borne_for_long() {
        let judge = |waiting| judge(waiting, KEEP_ALIVE, true);
        assert_eq!(judge(Waiting::Head(seconds(0.4))), Verdict::Keep);
        assert_eq!(judge(Waiting::Head(seconds(0.5))), Verdict::Cut);
        assert_eq!(judge(Waiting::Idle(seconds(0.5))), Verdict::Close);
        assert_eq!(judge(Waiting::Busy), Verdict::Keep);
    }
}
