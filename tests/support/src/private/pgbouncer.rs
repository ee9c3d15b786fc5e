//! A PgBouncer with transaction pooling in front of a PostgreSQL, from Debian's package.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::START;
use super::postgres::postgres_ids;
use super::server::Server;
use crate::wait_until;

/// A pooler; it ends with the test.
pub struct PgBouncer(Server);

impl PgBouncer {
    /// In front of the server at this address, as which every client is `postgres`; `settings` are
    /// lines of its configuration.
    pub fn start(host: &str, port: &str, settings: &str) -> PgBouncer {
        let mut server = Server::new("pgbouncer");
        let own = server.port;
        let configuration = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\n{settings}\n"
        );
        let file = server.dir.path().join("pgbouncer.ini");
        fs::write(&file, configuration).expect("the folder is writable");
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg(&file);
        // PgBouncer refuses to run as root.
        if let Some((user, group)) = postgres_ids() {
            chown(server.dir.path(), Some(user), Some(group)).expect("root may give a folder away");
            command.uid(user).gid(group);
        }
        server.spawn(&mut command);
        wait_until("PgBouncer to be up", START, || {
            TcpStream::connect(("127.0.0.1", own)).is_ok()
        });
        PgBouncer(server)
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.0.log()
    }
}
