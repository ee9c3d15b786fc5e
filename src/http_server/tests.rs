//! When a connection is kept, closed or cut, and which clients a full port serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::*;

fn limits() -> Limits {
    Limits {
        max_connections: 4,
        when_full: WhenFull::CutLongest,
        head_timeout: Duration::from_secs(5),
        max_head_bytes: 8 << 10,
        keep_alive: Duration::from_secs(75),
        drain_timeout: Duration::from_millis(100),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_slow_head_is_cut_and_an_idle_connection_closed_gracefully() {
    let decide = |waiting| decide(waiting, &limits(), false);
    assert_eq!(decide(Waiting::Head(seconds(4.9))), Verdict::Keep);
    assert_eq!(decide(Waiting::Head(seconds(5.0))), Verdict::Cut);
    assert_eq!(decide(Waiting::Idle(seconds(74.9))), Verdict::Keep);
    assert_eq!(decide(Waiting::Idle(seconds(75.0))), Verdict::Close);
    assert_eq!(decide(Waiting::Busy(seconds(99.0))), Verdict::Keep);
}

#[test]
fn a_silent_client_of_a_nearly_full_port_is_cut_sooner() {
    let decide = |waiting| decide(waiting, &limits(), true);
    assert_eq!(decide(Waiting::Head(seconds(0.4))), Verdict::Keep);
    assert_eq!(decide(Waiting::Head(seconds(0.5))), Verdict::Cut);
    assert_eq!(decide(Waiting::Idle(seconds(0.5))), Verdict::Close);
    assert_eq!(decide(Waiting::Busy(seconds(99.0))), Verdict::Keep);
}

/// A port that answers every request with `ok`.
struct Port {
    addr: SocketAddr,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    thread: JoinHandle<()>,
}

impl Port {
    fn silent_clients(&self, count: usize) -> Vec<TcpStream> {
        let connect = |_| TcpStream::connect(self.addr).unwrap();
        (0..count).map(connect).collect()
    }

    fn stop(self) {
        self.shutdown.request();
        self.thread.join().unwrap();
    }
}

fn start(limits: Limits) -> Port {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(Connections::new(limits));
    let shutdown = Shutdown::manual();
    let (served, stop) = (connections.clone(), shutdown.clone());
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let ok = |_, _| async { Response::new(Body::from("ok")) };
            serve(listener, served, ok, stop).await;
        });
    });
    Port {
        addr,
        connections,
        shutdown,
        thread,
    }
}

fn get(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_full_port_cuts_the_longest_silence_and_answers_at_once() {
    let port = start(limits());
    let silent = port.silent_clients(40);
    let started = Instant::now();
    assert!(get(port.addr).ends_with("ok"));
    let elapsed = started.elapsed();
    assert!(elapsed < NEARLY_FULL_TIMEOUT, "{elapsed:?}");
    assert!(port.connections.open() <= 4);
    assert!(port.connections.cut.get() >= 36);
    port.stop();
    drop(silent);
}

#[test]
fn a_full_port_cuts_silent_clients_before_those_that_are_being_answered() {
    let orders = [
        Waiting::Busy(seconds(1.0)),
        Waiting::Busy(seconds(60.0)),
        Waiting::Idle(seconds(0.1)),
        Waiting::Head(seconds(0.2)),
    ]
    .map(Waiting::cut_order);
    assert!(orders.is_sorted(), "{orders:?}");
}

#[test]
fn a_full_port_whose_clients_wait_serves_them_when_the_silent_are_cut() {
    let port = start(Limits {
        when_full: WhenFull::Wait,
        ..limits()
    });
    let silent = port.silent_clients(4);
    let started = Instant::now();
    assert!(get(port.addr).ends_with("ok"));
    let elapsed = started.elapsed();
    assert!(elapsed >= seconds(0.4), "{elapsed:?}");
    let connections = port.connections.clone();
    port.stop();
    assert_eq!(connections.open(), 0);
    drop(silent);
}
