//! A PostgreSQL server for one test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres::{Client, NoTls};
use rustix::process::Signal;

use super::server::Server;
use super::{START, signal, stop_and_wait};
use crate::disk::SmallDisk;
use crate::process::stat;
use crate::{eventually_ok, required_variable};

/// A PostgreSQL server.
pub struct PrivatePostgres {
    /// Declared before the folder that it is mounted in: fields are dropped in this order.
    pub(super) disk: Option<SmallDisk>,
    pub(super) server: Server,
}

impl PrivatePostgres {
    pub fn start() -> PrivatePostgres {
        let mut postgres = PrivatePostgres::stopped();
        postgres.restart();
        postgres
    }

    /// Initialized and not started, for a test that begins without a database.
    pub fn stopped() -> PrivatePostgres {
        let postgres = PrivatePostgres::empty();
        postgres.make();
        postgres
    }

    pub(super) fn empty() -> PrivatePostgres {
        let server = Server::new("postgres");
        if let Some((user, group)) = postgres_ids() {
            std::os::unix::fs::chown(server.dir.path(), Some(user), Some(group))
                .expect("root may change the owner of a folder");
        }
        PrivatePostgres { disk: None, server }
    }

    pub(super) fn make(&self) {
        let options = "-U postgres -A trust -E UTF8 --locale=C.UTF-8";
        let made = self
            .program("initdb")
            .arg("-D")
            .arg(self.data())
            .args(options.split(' '))
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "initdb: {made:?}");
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        format!(
            "postgresql://postgres@127.0.0.1:{}/postgres",
            self.server.port
        )
    }

    pub fn data(&self) -> PathBuf {
        self.server.dir.path().join("data")
    }

    /// Starts it and waits until it accepts connections.
    pub fn restart(&mut self) {
        self.launch(&[]);
        eventually_ok(
            "the private PostgreSQL to accept connections",
            START,
            || self.connect().map(drop),
        );
    }

    /// Opens a session in the database `postgres`.
    pub fn connect(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.url(), NoTls)
    }

    pub(super) fn launch(&mut self, settings: &[&str]) {
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.server.port.to_string(), "-k"])
            .arg(self.server.dir.path())
            .args("-c listen_addresses=127.0.0.1 -c max_connections=50".split(' '))
            .args(settings);
        self.server.spawn(&mut command);
    }

    /// Stops at once, without a checkpoint, as `pg_ctl -m immediate` does.
    pub fn stop_immediately(&mut self) {
        self.server.terminate(Signal::QUIT);
    }

    /// Stops with a checkpoint and terminates sessions, as `pg_ctl -m fast` does.
    pub fn stop(&mut self) {
        self.server.terminate(Signal::INT);
    }

    /// Sends SIGSTOP to all its processes: connections stay open, nothing responds.
    pub fn freeze(&self) {
        // The postmaster first, so that it starts no process meanwhile.
        let postmaster = self.server.id();
        stop_and_wait(postmaster);
        children_of(postmaster).into_iter().for_each(stop_and_wait);
    }

    pub fn thaw(&self) {
        let postmaster = self.server.id();
        for pid in children_of(postmaster).into_iter().chain([postmaster]) {
            signal(pid, Signal::CONT);
        }
    }

    /// A program of PostgreSQL, run as the user of the server.
    pub fn program(&self, name: &str) -> Command {
        let folder = required_variable("ORDERS_TEST_PG_BIN");
        let mut command = Command::new(Path::new(&folder).join(name));
        command.current_dir(self.server.dir.path());
        command.stdin(Stdio::null());
        // PostgreSQL refuses to run as root.
        if let Some((user, group)) = postgres_ids() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if self.server.is_started() {
            // Its processes end by themselves after it, unless they are stopped.
            let frozen = children_of(self.server.id());
            self.server.kill();
            frozen.into_iter().for_each(|pid| signal(pid, Signal::CONT));
        }
    }
}

/// User and group of `postgres`, where this process is root.
pub(super) fn postgres_ids() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    let mut lines = users.lines();
    let line = lines.find(|line| line.starts_with("postgres:"));
    let fields = line.expect("there is a user `postgres`").split(':');
    let numbers: Vec<u32> = fields.filter_map(|field| field.parse().ok()).collect();
    Some((numbers[0], numbers[1]))
}

pub(super) fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = parent.to_string();
    pids.filter(|pid| stat(*pid).is_some_and(|fields| fields[1] == parent))
        .collect()
}
