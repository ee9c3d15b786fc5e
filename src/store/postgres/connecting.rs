//! Opening a connection to one server within a time limit.
//!
//! The client has no timeout for a server that accepts a connection and then sends nothing, so each
//! attempt runs on a thread of its own. One that has run out of time ends when the server closes the
//! connection or answers after all. While there is such an attempt the server is probed first, on a
//! socket with a timeout, so that a silent server never has more than one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use ::postgres::{Client, Config, Error as PgError, SimpleQueryMessage};
use postgres_openssl::MakeTlsConnector;

/// How many attempts may be left at a server that answers probes and nothing else.
const MAX_STUCK: usize = 4;

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
    /// Attempts that have run out of time and still wait for the server.
    stuck: Arc<AtomicUsize>,
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
        let stuck = self.stuck.load(Ordering::Relaxed);
        if stuck >= MAX_STUCK || (stuck > 0 && !responds(config, limit)) {
            return Err(ConnectError::Silent);
        }
        check_descriptors().map_err(ConnectError::Local)?;
        let (sender, opened) = sync_channel(0);
        let (config, stuck) = (config.clone(), self.stuck.clone());
        let attempt = thread::Builder::new().spawn(move || {
            let opened = open(&config, tls, query);
            // The channel has no buffer: what is sent is received, unless the receiver timed out.
            if sender.send(opened).is_err() {
                stuck.fetch_sub(1, Ordering::Relaxed);
            }
        });
        attempt.map_err(ConnectError::Local)?;
        match opened.recv_timeout(limit) {
            Ok(opened) => opened.map_err(ConnectError::Client),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.fetch_add(1, Ordering::Relaxed);
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
            assert_eq!(connecting.stuck.load(Ordering::Relaxed), 1);
        }
        // The server closes every connection: the attempt ends.
        drop(listener);
        let deadline = Instant::now() + Duration::from_secs(30);
        while connecting.stuck.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline, "the attempt has not ended");
            thread::yield_now();
        }
    }
}
