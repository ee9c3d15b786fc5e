//! Servers for one test alone, for tests that stop, freeze, kill or rewrite them.
//!
//! Both keep their port and folder over a restart and end with the test. `tests/run` provides the jars
//! and programs.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::disk::SmallDisk;
use crate::process::process_state;
use crate::{TIMEOUT, eventually, required_variable};

mod kafka;
mod postgres_faults;

pub use kafka::PrivateKafka;

/// How long a server may take to start; a killed broker waits for its own session to expire.
const START: Duration = Duration::from_secs(90);

/// A PostgreSQL server.
pub struct PrivatePostgres {
    /// Declared before the folder that it is mounted in: fields are dropped in this order.
    disk: Option<SmallDisk>,
    dir: TempDir,
    port: u16,
    child: Option<Child>,
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

    fn empty() -> PrivatePostgres {
        let dir = TempDir::with_prefix("orders-postgres-").expect("a temporary folder can be made");
        if let Some((user, group)) = postgres_ids() {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group))
                .expect("root may give a folder away");
        }
        PrivatePostgres {
            disk: None,
            dir,
            port: free_port(),
            child: None,
        }
    }

    fn make(&self) {
        let made = self
            .program("initdb")
            .arg("-D")
            .arg(self.data())
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ])
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "initdb: {made:?}");
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it and waits until it accepts connections.
    pub fn restart(&mut self) {
        self.launch(&[]);
        let url = self.url();
        eventually("the private PostgreSQL to be up", START, || {
            postgres::Client::connect(&url, postgres::NoTls)
                .ok()
                .map(drop)
        });
    }

    fn launch(&mut self, settings: &[&str]) {
        assert!(self.child.is_none(), "the database is stopped first");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("postgres.log"));
        let log = log.expect("the folder is writable");
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.dir.path())
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=50",
            ])
            .args(settings)
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        self.child = Some(command.spawn().expect("postgres can be started"));
    }

    /// Stops at once, without a checkpoint, as `pg_ctl -m immediate` does.
    pub fn stop_immediately(&mut self) {
        self.terminate(Signal::QUIT);
    }

    /// Stops with a checkpoint and terminates sessions, as `pg_ctl -m fast` does.
    pub fn stop(&mut self) {
        self.terminate(Signal::INT);
    }

    fn terminate(&mut self, how: Signal) {
        let mut child = self.child.take().expect("the database runs");
        signal(child.id(), how);
        eventually("the private PostgreSQL to stop", START, || {
            child.try_wait().expect("the child can be queried")
        });
    }

    /// Sends SIGSTOP to all its processes: connections stay open, nothing answers.
    pub fn freeze(&self) {
        // The postmaster first, so that it starts no process meanwhile.
        let postmaster = self.child.as_ref().expect("the database runs").id();
        signal_and_wait(postmaster, Signal::STOP);
        for pid in children_of(postmaster) {
            signal_and_wait(pid, Signal::STOP);
        }
    }

    pub fn thaw(&self) {
        let postmaster = self.child.as_ref().expect("the database runs").id();
        for pid in children_of(postmaster) {
            signal(pid, Signal::CONT);
        }
        signal(postmaster, Signal::CONT);
    }

    /// A program of PostgreSQL, run as the user of the server.
    pub fn program(&self, name: &str) -> Command {
        let mut command =
            Command::new(Path::new(&required_variable("ORDERS_TEST_PG_BIN")).join(name));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        // PostgreSQL refuses to run as root.
        if let Some((user, group)) = postgres_ids() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let frozen = children_of(child.id());
            let _ = (child.kill(), child.wait());
            // Its processes end by themselves after it, unless they are stopped.
            for pid in frozen {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::CONT);
                }
            }
        }
    }
}

/// User and group of `postgres`, where this process is root.
fn postgres_ids() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("there is a user `postgres`");
    let fields: Vec<&str> = line.split(':').collect();
    Some((
        fields[2].parse().expect("a number"),
        fields[3].parse().expect("a number"),
    ))
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    // The process may have ended since it was listed.
    let _ = kill_process(pid, signal);
}

fn signal_and_wait(pid: u32, stop: Signal) {
    signal(pid, stop);
    eventually(format!("process {pid} to be stopped"), TIMEOUT, || {
        process_state(pid)
            .is_none_or(|state| matches!(state, 'T' | 'Z'))
            .then_some(())
    });
}

fn children_of(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat
            .rsplit_once(") ")
            .map(|(_, fields)| fields)
            .unwrap_or_default();
        if fields.split(' ').nth(1) == Some(&parent.to_string()) {
            children.push(pid);
        }
    }
    children
}

/// A port that was free a moment ago, below the range of outgoing connections.
pub fn free_port() -> u16 {
    eventually("a free port", TIMEOUT, || {
        let (high, low) = (
            uuid::Uuid::new_v4().as_bytes()[0],
            uuid::Uuid::new_v4().as_bytes()[1],
        );
        let port = 20_000 + u16::from_be_bytes([high, low]) % 12_000;
        TcpListener::bind(("127.0.0.1", port))
            .is_ok()
            .then_some(port)
    })
}
