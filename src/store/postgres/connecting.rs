//! Opening a connection to one server within a time limit.
//!
//! The client has no timeout for a server that accepts a connection and then sends nothing, so each
//! attempt runs on a thread of its own. One that has run out of time ends when the server closes the
//! connection or answers after all. While there is such an attempt the server is probed first, on a
//! socket with a timeout, so that a silent server never has more than one.
//!
//! A proxy may answer probes for a database that is not there, and never end what it accepted: attempts
//! at it are made less and less often, and their number is limited.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ::postgres::{Client, Config, Error as PgError, SimpleQueryMessage};
use postgres_openssl::MakeTlsConnector;

use crate::sync::lock;

/// How many attempts may be left at a server that answers probes and nothing else before the pauses
/// between further ones grow: a minute before the first of them, two before the second, and so on. More
/// than the threads of a process that connect at once (eight lanes, lookups, the watching threads).
const MAX_STUCK: usize = 16;
const STUCK_PAUSE: Duration = Duration::from_secs(60);

/// How many attempts may be left in all, after thirty hours. Each has a thread and two descriptors.
const MAX_STUCK_EVER: usize = 64;

/// Every server answers an SSLRequest with one byte, before authentication (PostgreSQL's manual,
/// "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Why a connection was not opened.
pub(super) enum ConnectError {
    /// The attempt could not be made, for lack of descriptors or memory.
    Local(io::Error),
    /// The server did not answer in time.
    Silent,
    /// The client's own reason.
    Client(PgError),
}

/// A connection, and the first column of the first row of a query.
type Opened = (Client, Option<String>);

/// Opens connections to one server.
#[derive(Default)]
pub(super) struct Connecting {
    stuck: Mutex<Stuck>,
}

/// The attempts that have run out of time and still wait for the server.
#[derive(Default)]
struct Stuck {
    /// Each is alive as long as the thread of its attempt, however that ends.
    attempts: Vec<Weak<()>>,
    /// When the newest attempt beyond [`MAX_STUCK`] began, or the last one before them ran out of time.
    last: Option<Instant>,
}

impl Stuck {
    fn count(&mut self) -> usize {
        self.attempts.retain(|attempt| attempt.strong_count() > 0);
        self.attempts.len()
    }

    /// Whether another attempt may be made now.
    fn admits(&mut self, now: Instant) -> bool {
        let count = self.count();
        let Some(beyond) = count.checked_sub(MAX_STUCK) else {
            return true;
        };
        let pause = STUCK_PAUSE * u32::try_from(beyond + 1).unwrap_or(u32::MAX);
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= pause);
        let is_admitted = is_due && count < MAX_STUCK_EVER;
        if is_admitted {
            self.last = Some(now);
        }
        is_admitted
    }

    fn add(&mut self, attempt: Weak<()>, now: Instant) {
        if self.count() < MAX_STUCK {
            self.last = Some(now);
        }
        self.attempts.push(attempt);
    }
}

impl Connecting {
    /// Connects to the one server of `config` and runs `query` there, both within `limit`.
    pub(super) fn connect(
        &self,
        config: &Config,
        tls: MakeTlsConnector,
        query: &'static str,
        limit: Duration,
    ) -> Result<Opened, ConnectError> {
        let is_stuck = lock(&self.stuck).count() > 0;
        if is_stuck && !responds(config, limit) || !lock(&self.stuck).admits(Instant::now()) {
            return Err(ConnectError::Silent);
        }
        check_descriptors().map_err(ConnectError::Local)?;
        let (sender, opened) = sync_channel(0);
        let config = config.clone();
        let running = Arc::new(());
        let attempt = Arc::downgrade(&running);
        let thread = thread::Builder::new().spawn(move || {
            // Dropped when the thread ends, be it by a panic.
            let _running = running;
            // Nobody receives it when the limit is over.
            let _ = sender.send(open(&config, tls, query));
        });
        thread.map_err(ConnectError::Local)?;
        match opened.recv_timeout(limit) {
            Ok(opened) => opened.map_err(ConnectError::Client),
            Err(RecvTimeoutError::Timeout) => {
                lock(&self.stuck).add(attempt, Instant::now());
                Err(ConnectError::Silent)
            }
            // The client panics where the last descriptor went to somebody else after the check.
            Err(RecvTimeoutError::Disconnected) => {
                let reason = "the client could not be set up for lack of descriptors or memory";
                Err(ConnectError::Local(io::Error::other(reason)))
            }
        }
    }
}

fn open(config: &Config, tls: MakeTlsConnector, query: &str) -> Result<Opened, PgError> {
    let mut client = config.connect(tls)?;
    let messages = client.simple_query(query)?;
    let answer = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok((client, answer))
}

/// The client panics when no descriptor is left for its event loop: this makes such a loop first.
fn check_descriptors() -> io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map(drop)
}

/// Whether the server answers at all; blocks for twice `limit` at most.
fn responds(config: &Config, limit: Duration) -> bool {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    // A socket of this machine has no address: an attempt fails at once where no server listens.
    let mut addresses = config.get_hostaddrs().iter();
    addresses.all(|address| probe((*address, port).into(), limit).is_ok())
}

fn probe(server: SocketAddr, limit: Duration) -> io::Result<()> {
    let mut socket = TcpStream::connect_timeout(&server, limit)?;
    socket.set_read_timeout(Some(limit))?;
    socket.write_all(&SSL_REQUEST)?;
    socket.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use openssl::ssl::{SslConnector, SslMethod};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    fn config(listener: &TcpListener) -> Config {
        let port = listener.local_addr().unwrap().port();
        let mut config = Config::new();
        let address = "127.0.0.1".parse().unwrap();
        config.user("u").host("db").hostaddr(address).port(port);
        config
    }

    #[test]
    fn a_server_that_answers_responds_and_one_that_closes_the_connection_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&listener);
        let server = thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            first.read_exact(&mut request).unwrap();
            first.write_all(b"N").unwrap();
            drop(listener.accept().unwrap());
            request
        });
        let patience = Duration::from_secs(30);
        assert!(responds(&config, patience));
        assert!(!responds(&config, patience));
        assert_eq!(server.join().unwrap(), SSL_REQUEST);
    }

    #[test]
    fn a_silent_server_holds_one_attempt_however_often_it_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&listener);
        let connecting = Connecting::default();
        for _ in 0..3 {
            let tls = SslConnector::builder(SslMethod::tls()).unwrap().build();
            let began = Instant::now();
            let opened = connecting.connect(&config, MakeTlsConnector::new(tls), "", LIMIT);
            assert!(matches!(opened, Err(ConnectError::Silent)));
            assert!(began.elapsed() >= LIMIT, "the server gets its time");
            assert_eq!(lock(&connecting.stuck).count(), 1);
        }
        // The server closes every connection: the attempt ends.
        drop(listener);
        let deadline = Instant::now() + Duration::from_secs(30);
        while lock(&connecting.stuck).count() > 0 {
            assert!(Instant::now() < deadline, "the attempt has not ended");
            thread::yield_now();
        }
    }

    #[test]
    fn attempts_that_never_end_delay_further_ones_and_do_not_prevent_them_for_ever() {
        let (mut stuck, running) = (Stuck::default(), Arc::new(()));
        let mut now = Instant::now();
        for _ in 0..MAX_STUCK {
            assert!(stuck.admits(now));
            stuck.add(Arc::downgrade(&running), now);
        }
        for minutes in 1..=3 {
            now += STUCK_PAUSE * minutes - Duration::from_secs(1);
            assert!(!stuck.admits(now), "{minutes}");
            now += Duration::from_secs(1);
            assert!(stuck.admits(now), "{minutes}");
            assert!(!stuck.admits(now), "one at a time");
            stuck.add(Arc::downgrade(&running), now + LIMIT);
        }
        while stuck.count() < MAX_STUCK_EVER {
            stuck.add(Arc::downgrade(&running), now);
        }
        now += STUCK_PAUSE * 1_000_000;
        assert!(!stuck.admits(now), "their number is limited");
        drop(running);
        assert!(stuck.admits(now), "they have ended");
    }

    #[test]
    fn an_attempt_that_ends_by_a_panic_does_not_count_for_ever() {
        let (mut stuck, running) = (Stuck::default(), Arc::new(()));
        stuck.add(Arc::downgrade(&running), Instant::now());
        let attempt = thread::spawn(move || {
            let _running = running;
            panic!("as in the client");
        });
        assert!(attempt.join().is_err());
        assert_eq!(stuck.count(), 0);
    }
}
