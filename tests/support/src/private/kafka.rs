//! A Kafka broker for one test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::server::Server;
use super::{START, free_address, signal, stop_and_wait};
use crate::proxy::Proxy;
use crate::{required_variable, wait_until};

/// A Kafka of one node, broker and controller, or a node of a cluster.
pub struct PrivateKafka {
    server: Server,
    data: PathBuf,
    /// The option of the JVM.
    heap: &'static str,
    starts: usize,
}

/// What a node is in its cluster.
enum Role {
    BrokerAndController,
    /// A broker of this number, 2 or more.
    Broker(usize),
}

/// A listener in addition to the direct one.
struct Listener {
    name: String,
    address: String,
    /// What the broker tells clients: the address of a proxy, so that a client that bootstraps from it
    /// stays behind it, or its own.
    advertised: String,
}

impl PrivateKafka {
    pub fn start() -> PrivateKafka {
        PrivateKafka::with_settings("")
    }

    /// With more lines in server.properties.
    pub fn with_settings(settings: &str) -> PrivateKafka {
        let mut kafka = PrivateKafka::stopped(settings);
        kafka.restart();
        kafka
    }

    /// With so many listeners behind proxies, in addition to the direct one.
    pub fn behind_proxies<const N: usize>(settings: &str) -> (PrivateKafka, [Proxy; N]) {
        let addresses: [String; N] = std::array::from_fn(|_| free_address());
        let proxies = addresses.each_ref().map(|it| Proxy::before_kafka(it));
        let listeners: [Listener; N] = std::array::from_fn(|number| Listener {
            name: format!("PROXIED{number}"),
            address: addresses[number].clone(),
            advertised: proxies[number].address().to_string(),
        });
        let mut kafka = PrivateKafka::prepared(None, &listeners, settings);
        kafka.restart();
        (kafka, proxies)
    }

    /// With listeners of these names, in addition to the direct one; returns their addresses. The
    /// settings say what protects them.
    pub fn with_listeners<const N: usize>(
        names: [&str; N],
        settings: &str,
    ) -> (PrivateKafka, [String; N]) {
        let listeners = names.map(|name| {
            let address = free_address();
            Listener {
                name: name.to_owned(),
                advertised: address.clone(),
                address,
            }
        });
        let mut kafka = PrivateKafka::prepared(None, &listeners, settings);
        kafka.restart();
        (kafka, listeners.map(|listener| listener.address))
    }

    /// With its log directory in a folder of the test.
    pub fn with_data_in(data: PathBuf, settings: &str) -> PrivateKafka {
        let mut kafka = PrivateKafka::prepared(Some(data), &[], settings);
        kafka.restart();
        kafka
    }

    /// So many brokers that form one cluster, formatted and not started. The first is its controller, so
    /// the others serve nobody without it.
    pub fn cluster<const N: usize>(settings: &str) -> [PrivateKafka; N] {
        let controller = free_address();
        std::array::from_fn(|index| {
            let role = match index {
                0 => Role::BrokerAndController,
                _ => Role::Broker(index + 1),
            };
            let mut kafka = PrivateKafka::node(&role, &controller, None, &[], settings);
            kafka.heap = "-Xmx256m";
            kafka
        })
    }

    /// Formatted and not started, for a test that begins without a broker.
    pub fn stopped(settings: &str) -> PrivateKafka {
        PrivateKafka::prepared(None, &[], settings)
    }

    fn prepared(data: Option<PathBuf>, listeners: &[Listener], settings: &str) -> PrivateKafka {
        let controller = free_address();
        PrivateKafka::node(
            &Role::BrokerAndController,
            &controller,
            data,
            listeners,
            settings,
        )
    }

    fn node(
        role: &Role,
        controller: &str,
        data: Option<PathBuf>,
        listeners: &[Listener],
        settings: &str,
    ) -> PrivateKafka {
        let server = Server::new("kafka");
        let port = server.port;
        let (roles, number, controls) = match role {
            Role::BrokerAndController => {
                let controls = format!(",CONTROLLER://{controller}");
                ("broker,controller", 1, controls)
            }
            Role::Broker(number) => ("broker", *number, String::new()),
        };
        let data = data.unwrap_or_else(|| server.dir.path().join("data"));
        let (mut listens, mut advertises, mut protocols) =
            (String::new(), String::new(), String::new());
        for Listener {
            name,
            address,
            advertised,
        } in listeners
        {
            listens += &format!("{name}://{address},");
            advertises += &format!(",{name}://{advertised}");
            protocols += &format!("{name}:PLAINTEXT,");
        }
        let properties = format!(
            "process.roles={roles}\nnode.id={number}\n\
             controller.quorum.voters=1@{controller}\n\
             listeners={listens}PLAINTEXT://127.0.0.1:{port}{controls}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertises}\n\
             listener.security.protocol.map={protocols}PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n{settings}\n",
            data.display()
        );
        let kafka = PrivateKafka {
            server,
            data,
            heap: "-Xmx512m",
            starts: 0,
        };
        fs::write(kafka.properties(), properties).expect("the folder is writable");
        kafka.format();
        if let Role::Broker(number) = role {
            kafka.renumber(*number);
        }
        kafka
    }

    /// Gives a formatted log directory to another node: each has a number and a directory id of its own.
    fn renumber(&self, number: usize) {
        let file = self.data.join("meta.properties");
        let text = fs::read_to_string(&file).expect("it was formatted");
        let own = |line: &str| match line.split_once('=') {
            Some(("node.id", _)) => format!("node.id={number}\n"),
            // The base64 form of 16 bytes.
            Some(("directory.id", _)) => format!("directory.id=b3JkZXJzLXRlc3RzLTAw{number}A\n"),
            _ => format!("{line}\n"),
        };
        let text: String = text.lines().map(own).collect();
        fs::write(&file, text).expect("it is writable");
    }

    /// Formats the log directory, or copies one that an earlier broker of this version formatted, which
    /// saves the start of a JVM.
    fn format(&self) {
        let libraries = PathBuf::from(required_variable("ORDERS_TEST_KAFKA_LIBS"));
        let formatted = libraries.with_file_name("formatted-storage");
        if formatted.is_dir() {
            return copy_folder(&formatted, &self.data).expect("the storage can be copied");
        }
        let format = self
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "b3JkZXJzLXRlc3RzLTAwMQ", "-c"])
            .arg(self.properties())
            .output()
            .expect("java can be started");
        assert!(format.status.success(), "StorageTool format: {format:?}");
        // Renamed, so that it appears complete; another test may be first, or the folder read-only.
        let copy = libraries.with_file_name(format!("formatted-{}", uuid::Uuid::new_v4()));
        let kept = copy_folder(&self.data, &copy).and_then(|()| fs::rename(&copy, &formatted));
        if kept.is_err() {
            let _ = fs::remove_dir_all(&copy);
        }
    }

    fn properties(&self) -> PathBuf {
        self.server.dir.path().join("server.properties")
    }

    /// `host:port`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
    }

    /// The log directory. Change it only while the broker is stopped.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Copies the data of the stopped broker, for `restore`.
    pub fn copy_data(&self, name: &str) {
        copy_folder(&self.data(), &self.server.dir.path().join(name))
            .expect("the data can be copied");
    }

    /// Replaces the data of the stopped broker by a copy.
    pub fn restore(&self, name: &str) {
        fs::remove_dir_all(self.data()).expect("the data can be removed");
        copy_folder(&self.server.dir.path().join(name), &self.data())
            .expect("the data can be copied");
    }

    /// Starts a stopped broker and waits until it serves clients.
    pub fn restart(&mut self) {
        self.restart_without_waiting();
        self.wait_until_up();
    }

    /// Waits until a broker that was started serves clients.
    pub fn wait_until_up(&mut self) {
        wait_until("the private Kafka to be up", START, || {
            let has_exited = self.server.has_exited();
            assert!(
                !has_exited,
                "the private Kafka exited\n{}",
                self.server.log()
            );
            self.logged_starts() >= self.starts
        });
    }

    fn logged_starts(&self) -> usize {
        self.server.log().matches("Kafka Server started").count()
    }

    pub fn restart_without_waiting(&mut self) {
        let mut command = self.java("kafka.Kafka");
        self.server.spawn(command.arg(self.properties()));
        self.starts += 1;
    }

    /// Stops the broker in a controlled shutdown.
    pub fn stop(&mut self) {
        self.server.terminate(Signal::TERM);
    }

    /// Waits until the broker has halted by itself, as it does when its disk fails.
    pub fn wait_until_halted(&mut self) {
        self.server.wait_until_exited();
    }

    pub fn kill9(&mut self) {
        self.server.kill();
        // A start that was killed early may not have logged its line.
        self.starts = self.logged_starts();
    }

    pub fn freeze(&self) {
        stop_and_wait(self.server.id());
    }

    pub fn thaw(&self) {
        signal(self.server.id(), Signal::CONT);
    }

    /// A program of Kafka.
    pub fn java(&self, class: &str) -> Command {
        let logging = self.server.dir.path().join("log4j2.properties");
        if !logging.exists() {
            let lines = "appender.out.type=Console\nappender.out.name=out\n\
                         appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %m%n\n\
                         rootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n";
            fs::write(&logging, lines).expect("the folder is writable");
        }
        let mut command = Command::new("java");
        command
            .args([self.heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .args([
                "-cp",
                &format!("{}/*", required_variable("ORDERS_TEST_KAFKA_LIBS")),
                class,
            ])
            .stdin(Stdio::null());
        command
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if entry.file_name() != ".lock" {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
