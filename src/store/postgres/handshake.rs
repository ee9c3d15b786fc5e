//! Whether a server responds at all.
//!
//! The client has no timeout for a server that accepts a connection and then sends nothing: the
//! thread that connects stays blocked. After that has happened once, the server is probed before
//! each attempt, on a socket with a timeout.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use ::postgres::Config;
use ::postgres::config::Host;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Every server answers an SSLRequest with one byte, before authentication (PostgreSQL's manual,
/// "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Probes the addresses of `config` one after the other; blocks up to 10 s for each of them.
pub(super) fn responds(config: &Config) -> bool {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    // As the client does: where addresses are given, the names are not resolved.
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        let mut addresses = addresses.iter().enumerate();
        return addresses.any(|(at, address)| probe((*address, port(at))).is_ok());
    }
    let mut hosts = config.get_hosts().iter().enumerate();
    hosts.any(|(at, host)| match host {
        Host::Tcp(name) => probe((name.as_str(), port(at))).is_ok(),
        // Local: the attempt to connect fails at once where no server listens.
        Host::Unix(_) => true,
    })
}

fn probe(server: impl ToSocketAddrs) -> io::Result<()> {
    let mut probed = Err(io::ErrorKind::NotFound.into());
    for address in server.to_socket_addrs()? {
        probed = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).and_then(|mut socket| {
            socket.set_read_timeout(Some(PROBE_TIMEOUT))?;
            socket.write_all(&SSL_REQUEST)?;
            socket.read_exact(&mut [0])
        });
        if probed.is_ok() {
            break;
        }
    }
    probed
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_answers_responds_and_one_that_closes_the_connection_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config: Config = format!("postgresql://u@127.0.0.1:{port}/d")
            .parse()
            .unwrap();
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            first.read_exact(&mut request).unwrap();
            first.write_all(b"N").unwrap();
            drop(listener.accept().unwrap());
            request
        });
        assert!(responds(&config));
        assert!(!responds(&config));
        assert_eq!(server.join().unwrap(), SSL_REQUEST);
    }
}
