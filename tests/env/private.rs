//! Servers of one test alone, for tests that stop, freeze, kill or rewrite them.
//!
//! Both keep their port and folder over a restart and end with the test. The jars and programs are
//! those that `tests/run` brought.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::process_state;
use super::{PATIENCE, eventually, given};

mod postgres_faults;

/// How long a server may take to come up; a broker that was killed waits for its own session.
const START: Duration = Duration::from_secs(90);

/// A Kafka of one node.
pub struct PrivateKafka {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    starts: usize,
}

impl PrivateKafka {
    pub fn start() -> PrivateKafka {
        PrivateKafka::with_settings("")
    }

    /// With further lines of server.properties.
    pub fn with_settings(settings: &str) -> PrivateKafka {
        let mut kafka = PrivateKafka::stopped(settings);
        kafka.restart();
        kafka
    }

    /// Ready to be started by `restart`, for a test that begins with a broker that is away.
    pub fn stopped(settings: &str) -> PrivateKafka {
        let dir = TempDir::with_prefix("orders-kafka-").expect("a temporary folder can be made");
        let (port, controller) = (free_port(), free_port());
        let data = dir.path().join("data");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n{settings}\n",
            data.display()
        );
        fs::write(dir.path().join("server.properties"), properties)
            .expect("the folder is writable");
        let kafka = PrivateKafka {
            dir,
            port,
            child: None,
            starts: 0,
        };
        let format = kafka
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "b3JkZXJzLXRlc3RzLTAwMQ", "-c"])
            .arg(kafka.dir.path().join("server.properties"))
            .output()
            .expect("java can be started");
        assert!(
            format.status.success(),
            "the storage is formatted: {format:?}"
        );
        kafka
    }

    /// `host:port`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder with the logs of all topics; only to be touched while the broker is stopped.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Copies the stopped broker's data, to be put back later by `restore`.
    pub fn copy_data(&self, name: &str) {
        copy_folder(&self.data(), &self.dir.path().join(name));
    }

    /// Puts an older copy in the place of the stopped broker's data.
    pub fn restore(&self, name: &str) {
        fs::remove_dir_all(self.data()).expect("the data can be removed");
        copy_folder(&self.dir.path().join(name), &self.data());
    }

    /// Starts a stopped broker and waits until it serves.
    pub fn restart(&mut self) {
        self.restart_without_waiting();
        let (log, starts) = (self.dir.path().join("kafka.log"), self.starts);
        eventually("the private Kafka to be up", START, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let exited = self
                .child
                .as_mut()?
                .try_wait()
                .expect("the broker can be asked");
            assert!(
                exited.is_none(),
                "the private Kafka ended: {exited:?}\n{text}"
            );
            (text.matches("Kafka Server started").count() >= starts).then_some(())
        });
    }

    pub fn restart_without_waiting(&mut self) {
        assert!(self.child.is_none(), "the broker is stopped first");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("kafka.log"));
        let log = log.expect("the folder is writable");
        let mut command = self.java("kafka.Kafka");
        command
            .arg(self.dir.path().join("server.properties"))
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        self.child = Some(command.spawn().expect("java can be started"));
        self.starts += 1;
    }

    /// An orderly stop.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("the broker is there");
        eventually("the private Kafka to stop", START, || {
            child.try_wait().expect("it can be asked")
        });
    }

    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        child.kill().expect("the broker can be killed");
        child.wait().expect("a killed broker ends");
        // Its own count of starts would see the line of the start that was killed too early.
        let text = fs::read_to_string(self.dir.path().join("kafka.log")).unwrap_or_default();
        self.starts = text.matches("Kafka Server started").count();
    }

    pub fn freeze(&self) {
        signal_and_wait(
            self.child.as_ref().expect("the broker runs").id(),
            Signal::STOP,
        );
    }

    pub fn thaw(&self) {
        signal(
            self.child.as_ref().expect("the broker runs").id(),
            Signal::CONT,
        );
    }

    fn java(&self, class: &str) -> Command {
        let logging = self.dir.path().join("log4j2.properties");
        if !logging.exists() {
            let lines = "appender.out.type=Console\nappender.out.name=out\n\
                         appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %m%n\n\
                         rootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n";
            fs::write(&logging, lines).expect("the folder is writable");
        }
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .args([
                "-cp",
                &format!("{}/*", given("ORDERS_TEST_KAFKA_LIBS")),
                class,
            ])
            .stdin(Stdio::null());
        command
    }
}

impl Drop for PrivateKafka {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = (child.kill(), child.wait());
        }
    }
}

/// A PostgreSQL of its own.
pub struct PrivatePostgres {
    /// Before the folder that it lies in: they go in this order.
    disk: Option<postgres_faults::SmallDisk>,
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

    /// Ready to be started by `restart`, for a test that begins with a database that is away.
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
        assert!(
            made.status.success(),
            "the database cluster is made: {made:?}"
        );
    }

    /// The URL of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it and waits until it takes connections.
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

    /// Stops at once, without a checkpoint, all connections cut: what `pg_ctl -m immediate` does.
    pub fn stop_immediately(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Stops in order, open connections cut.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, how: Signal) {
        let mut child = self.child.take().expect("the database runs");
        signal(child.id(), how);
        eventually("the private PostgreSQL to stop", START, || {
            child.try_wait().expect("it can be asked")
        });
    }

    /// Stops all its processes without closing anything: connections stay open, nothing answers.
    pub fn freeze(&self) {
        // The postmaster first: it makes no new processes while the others are stopped.
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

    /// A program of PostgreSQL's, as the user that the server runs as.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(&given("ORDERS_TEST_PG_BIN")).join(name));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        // It refuses to run as root.
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
            // Its processes end by themselves when it is gone, unless they are stopped.
            for pid in frozen {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::CONT);
                }
            }
        }
    }
}

/// User and group of `postgres`, when this process is root.
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
    // A backend may have ended since it was listed.
    let _ = kill_process(pid, signal);
}

fn signal_and_wait(pid: u32, stop: Signal) {
    signal(pid, stop);
    eventually(format!("process {pid} to be stopped"), PATIENCE, || {
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

/// A port that was free a moment ago, below the range that outgoing connections use.
pub fn free_port() -> u16 {
    eventually("a free port", PATIENCE, || {
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

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.file_name() != ".lock" {
            fs::copy(entry.path(), &target).expect("the file can be copied");
        }
    }
}
