//! A TCP proxy with faults on request: delays, low bandwidth, resets, black holes, and a lost reply to
//! one PostgreSQL COMMIT or one Kafka Produce.
//!
//! A mode applies to all connections, open ones included.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::connect_unspec;

use crate::{TIMEOUT, wait_until};

mod wire;

use wire::{Conversation, Protocol, Reply};

/// How the proxy treats bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Delays each chunk of bytes, in both directions.
    Delay(Duration),
    /// The same, with so many bytes per second for each direction of a connection.
    Slow(Duration, u32),
    /// Resets open connections, and new ones when they are accepted.
    Reset,
    /// Keeps connections open and drops all bytes.
    BlackHole,
}

/// The reply that is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropping {
    Nothing,
    /// The reply to the next COMMIT or Produce.
    Next,
    /// The request has passed.
    Awaited,
    /// The server has replied, and the client did not receive it.
    Dropped,
}

struct State {
    mode: Mode,
    dropping: Dropping,
    /// The open ones, by number.
    connections: HashMap<u64, (TcpStream, TcpStream)>,
    accepted: u64,
}

struct Shared {
    upstream: SocketAddr,
    protocol: Protocol,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no proxy thread panics")
    }

    fn keep(&self, connection: (TcpStream, TcpStream)) -> u64 {
        let mut state = self.state();
        state.accepted += 1;
        let number = state.accepted;
        state.connections.insert(number, connection);
        number
    }
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface.
    pub fn start(upstream: &str) -> Proxy {
        Proxy::between(upstream, Protocol::Unknown)
    }

    /// A proxy in front of one listener of a broker.
    pub fn before_kafka(upstream: &str) -> Proxy {
        Proxy::between(upstream, Protocol::Kafka)
    }

    fn between(upstream: &str, protocol: Protocol) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = State {
            mode: Mode::Forward,
            dropping: Dropping::Nothing,
            connections: HashMap::new(),
            accepted: 0,
        };
        let shared = Arc::new(Shared {
            upstream: upstream.parse().expect("the upstream is an address"),
            protocol,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accept(client, &accepting);
            }
        });
        Proxy { address, shared }
    }

    /// A proxy in front of the database of `url`, and the URL that leads through it.
    pub fn before_database(url: &str) -> (Proxy, String) {
        let (front, database) = url.rsplit_once('/').expect("the URL ends with a database");
        let (user, upstream) = front.rsplit_once('@').expect("the URL names a user");
        let proxy = Proxy::between(upstream, Protocol::Postgres);
        let through = format!("{user}@{}/{database}", proxy.address);
        (proxy, through)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, mode: Mode) {
        let mut state = self.shared.state();
        state.mode = mode;
        if mode == Mode::Reset {
            for (_, (client, server)) in state.connections.drain() {
                reset(&client);
                reset(&server);
            }
        }
        self.shared.changed.notify_all();
    }

    /// From the next COMMIT or Produce on, the client of that connection receives nothing; the server
    /// commits, the broker writes the records.
    pub fn drop_next_reply(&self) {
        self.shared.state().dropping = Dropping::Next;
    }

    /// Waits until the server has sent the reply that is dropped.
    pub fn wait_until_reply_is_dropped(&self) {
        wait_until("a reply to be dropped", TIMEOUT, || {
            self.shared.state().dropping == Dropping::Dropped
        });
    }

    /// Closes all connections without any message, as the kernel of a crashed process does.
    pub fn close_connections(&self) {
        for (_, (client, server)) in self.shared.state().connections.drain() {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }
}

fn accept(client: TcpStream, shared: &Arc<Shared>) {
    if shared.state().mode == Mode::Reset {
        reset(&client);
        return;
    }
    // Without an upstream the connection is closed, as by a server that is down.
    let Ok(server) = TcpStream::connect(shared.upstream) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let clones = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
    let (Some((client_too, server_too)), Some(kept)) = (clones(), clones()) else {
        return;
    };
    let number = shared.keep(kept);
    let passing = Arc::new(Mutex::new(Passing {
        conversation: Conversation::new(shared.protocol),
        dropped: None,
    }));
    let (up, up_passing) = (shared.clone(), passing.clone());
    thread::spawn(move || pump(client, server, |bytes| to_server(&up, &up_passing, bytes)));
    let down = shared.clone();
    thread::spawn(move || {
        pump(server_too, client_too, |bytes| {
            to_client(&down, &passing, bytes)
        });
        down.state().connections.remove(&number);
    });
}

/// The state of one connection.
struct Passing {
    conversation: Conversation,
    /// After the request for this reply has passed, nothing reaches the client.
    dropped: Option<Reply>,
}

/// Copies until one side closes; `pass` decides about each chunk.
fn pump(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                if pass(&buffer[..read]) && to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn to_server(shared: &Shared, passing: &Mutex<Passing>, bytes: &[u8]) -> bool {
    let mut passing = passing.lock().expect("no proxy thread panics");
    if let Some(reply) = passing.conversation.request(bytes) {
        let mut state = shared.state();
        if state.dropping == Dropping::Next {
            state.dropping = Dropping::Awaited;
            passing.dropped = Some(reply);
        }
    }
    drop(passing);
    passes(shared, bytes.len())
}

fn to_client(shared: &Shared, passing: &Mutex<Passing>, bytes: &[u8]) -> bool {
    let mut passing = passing.lock().expect("no proxy thread panics");
    let dropped = passing.dropped;
    if passing.conversation.has_reply(bytes, dropped) {
        shared.state().dropping = Dropping::Dropped;
    }
    drop(passing);
    dropped.is_none() && passes(shared, bytes.len())
}

/// Waits as the mode requires, or until it changes; returns whether the bytes are forwarded.
fn passes(shared: &Shared, bytes: usize) -> bool {
    let state = shared.state();
    let mode = state.mode;
    let time = match mode {
        Mode::Forward | Mode::Reset | Mode::BlackHole => return mode != Mode::BlackHole,
        Mode::Delay(time) => time,
        Mode::Slow(time, rate) => {
            let bytes = u32::try_from(bytes).expect("a buffer is small");
            time + Duration::from_secs(1) * bytes / rate
        }
    };
    let waited = shared
        .changed
        .wait_timeout_while(state, time, |state| state.mode == mode);
    let (state, _) = waited.expect("no proxy thread panics");
    state.mode != Mode::BlackHole
}

/// Drops a connection with a RST instead of a FIN.
fn reset(stream: &TcpStream) {
    // Disconnecting an open TCP socket aborts it, even where other threads hold it; closing it would
    // wait for the threads that read from it.
    let _ = connect_unspec(stream);
}
