//! A TCP proxy that misbehaves on request: delays, resets, black holes, and the answer to one
//! PostgreSQL COMMIT that never arrives.
//!
//! A mode counts for all connections, those that are open included. A COMMIT is recognised in the
//! frontend's messages (PostgreSQL protocol 3): a simple query or a Parse whose text starts with it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::connect_unspec;

use super::PATIENCE;

/// What the proxy does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Each chunk of bytes waits this long, in both directions.
    Delay(Duration),
    /// Open connections are reset, new ones are reset as soon as they come.
    Reset,
    /// Everything stays open, nothing passes; what comes meanwhile is lost.
    BlackHole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swallow {
    Nothing,
    NextCommit,
    /// The answer has come from the server and was kept from the client.
    Swallowed,
}

struct State {
    mode: Mode,
    swallow: Swallow,
    connections: Vec<(TcpStream, TcpStream)>,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no proxy thread panics")
    }
}

/// A running proxy; it ends with the test.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface.
    pub fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = State {
            mode: Mode::Forward,
            swallow: Swallow::Nothing,
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared {
            upstream: upstream.parse().expect("the upstream is an address"),
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

    /// A proxy before the database of `url`, and the URL that goes through it.
    pub fn before_database(url: &str) -> (Proxy, String) {
        let (front, database) = url.rsplit_once('/').expect("the URL ends with a database");
        let (user, upstream) = front.rsplit_once('@').expect("the URL names a user");
        let proxy = Proxy::start(upstream);
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
            for (client, server) in state.connections.drain(..) {
                reset(&client);
                reset(&server);
            }
        }
        self.shared.changed.notify_all();
    }

    /// From the next COMMIT on, that connection's client hears nothing more; the server does the
    /// COMMIT.
    pub fn swallow_next_commit(&self) {
        self.shared.state().swallow = Swallow::NextCommit;
    }

    /// Waits until the server has answered the swallowed COMMIT.
    pub fn wait_until_swallowed(&self) {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.swallow != Swallow::Swallowed)
            .expect("no proxy thread panics");
        assert!(
            !waited.timed_out(),
            "no COMMIT came by within {PATIENCE:?}: {:?}",
            state.swallow
        );
    }

    /// Closes all connections as a crashed machine's kernel would: without a word of explanation.
    pub fn cut(&self) {
        for (client, server) in self.shared.state().connections.drain(..) {
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
    // Without an upstream the client sees its connection closed, as with a dead server.
    let Ok(server) = TcpStream::connect(shared.upstream) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (Ok(client_kept), Ok(server_kept)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    shared.state().connections.push((client_kept, server_kept));
    let committing = Arc::new(AtomicBool::new(false));
    let (up, up_committing) = (shared.clone(), committing.clone());
    thread::spawn(move || {
        let mut frontend = Frontend::default();
        pump(client, server, |bytes| {
            to_server(&up, &up_committing, frontend.commits(bytes))
        });
    });
    let down = shared.clone();
    thread::spawn(move || {
        pump(server_too, client_too, |bytes| {
            to_client(&down, &committing, bytes)
        })
    });
}

/// Copies until one side ends; `pass` decides about each chunk.
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

fn to_server(shared: &Shared, committing: &AtomicBool, commits: bool) -> bool {
    if commits && shared.state().swallow == Swallow::NextCommit {
        committing.store(true, Ordering::SeqCst);
    }
    passes(shared)
}

fn to_client(shared: &Shared, committing: &AtomicBool, answer: &[u8]) -> bool {
    if !committing.load(Ordering::SeqCst) {
        return passes(shared);
    }
    // CommandComplete carries the word; nothing else of this connection reaches the client.
    if answer.windows(7).any(|bytes| bytes == b"COMMIT\0") {
        shared.state().swallow = Swallow::Swallowed;
        shared.changed.notify_all();
    }
    false
}

fn passes(shared: &Shared) -> bool {
    let mode = shared.state().mode;
    if let Mode::Delay(time) = mode {
        thread::sleep(time);
    }
    mode != Mode::BlackHole
}

/// Drops a connection with a RST instead of a FIN.
fn reset(stream: &TcpStream) {
    // Disconnecting an open TCP socket aborts it, whoever else holds it; closing it would wait for
    // the threads that read from it.
    let _ = connect_unspec(stream);
}

/// Splits what a PostgreSQL client sends into messages.
#[derive(Default)]
struct Frontend {
    pending: Vec<u8>,
    started: bool,
}

impl Frontend {
    const SSL_REQUEST: u32 = 80_877_103;

    /// Whether a COMMIT is complete with these bytes.
    fn commits(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        let mut found = false;
        while let Some(message) = self.next() {
            let text = match message.first() {
                Some(b'Q') => &message[5..],
                // The statement's name comes first.
                Some(b'P') => message[5..]
                    .splitn(2, |byte| *byte == 0)
                    .nth(1)
                    .unwrap_or_default(),
                _ => continue,
            };
            found |= text.len() >= 6 && text[..6].eq_ignore_ascii_case(b"COMMIT");
        }
        found
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        // The first messages have no type byte: an optional SSLRequest, then the startup.
        let prefix = usize::from(self.started);
        let number = |at: usize| -> Option<u32> {
            let bytes = self.pending.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
        };
        let length = prefix + usize::try_from(number(prefix)?).expect("a length fits");
        if self.pending.len() < length {
            return None;
        }
        self.started = self.started || number(4) != Some(Self::SSL_REQUEST);
        Some(self.pending.drain(..length).collect())
    }
}
