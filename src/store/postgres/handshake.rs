//! Whether a server says anything at all.
//!
//! The client has no timeout for a server that accepts a connection and then is silent: a thread that
//! connects to one stays behind. So once one has stayed, the server is asked first, on a socket of
//! our own whose timeout ends the matter.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use super::*;

const WITHIN: Duration = Duration::from_secs(5);

/// SSLRequest: the one question that every server answers, with one byte, before it knows who asks
/// (PostgreSQL's manual, "Message Formats").
const QUESTION: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Asks the addresses of `config` one after the other; blocks up to 10 s for each of them.
pub(super) fn responds(config: &Config) -> bool {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    // As the client does: where addresses are given, the names are not looked up.
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        let mut addresses = addresses.iter().enumerate();
        return addresses.any(|(at, address)| ask((*address, port(at))).is_ok());
    }
    let mut hosts = config.get_hosts().iter().enumerate();
    hosts.any(|(at, host)| match host {
        Host::Tcp(name) => ask((name.as_str(), port(at))).is_ok(),
        // A local one: connecting tells.
        Host::Unix(_) => true,
    })
}

fn ask(place: impl ToSocketAddrs) -> io::Result<()> {
    let mut heard = Err(io::ErrorKind::NotFound.into());
    for address in place.to_socket_addrs()? {
        heard = TcpStream::connect_timeout(&address, WITHIN).and_then(|mut socket| {
            socket.set_read_timeout(Some(WITHIN))?;
            socket.write_all(&QUESTION)?;
            socket.read_exact(&mut [0])
        });
        if heard.is_ok() {
            break;
        }
    }
    heard
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_answers_is_heard_and_one_that_hangs_up_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config: Config = format!("postgresql://u@127.0.0.1:{port}/d")
            .parse()
            .unwrap();
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut question = [0; 8];
            first.read_exact(&mut question).unwrap();
            first.write_all(b"N").unwrap();
            drop(listener.accept().unwrap());
            question
        });
        assert!(responds(&config));
        assert!(!responds(&config));
        assert_eq!(server.join().unwrap(), QUESTION);
    }
}
