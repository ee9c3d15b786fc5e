//! Clients that post orders under load and keep a durable record of every answer.
//!
//! Each client is a process of its own, so that it survives what a test kills. It syncs each answer
//! to its answer log before it sends the next request, and repeats the same version until that is
//! accepted. The process is the running program again: the caller's `main`, or a test named
//! `client_process`, calls [`run_if_requested`]. On request a client also reads: a GET must never
//! fall behind what the client was promised.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::audit::AnswerLog;
use crate::{Env, TIMEOUT, eventually};

mod client;

pub use client::run_if_requested;

/// The variable that makes a process a client.
const VARIABLE: &str = "ORDERS_TEST_CLIENT";

/// What each client posts.
#[derive(Clone, Debug)]
pub struct Workload {
    authority: String,
    prefix: String,
    orders: u32,
    invalid_every: u32,
    pace: Option<Duration>,
}

impl Workload {
    /// Orders without end for the API at that `host:port` or URL, posted as fast as they are answered.
    /// The address must stay the same over restarts of the API.
    pub fn new(authority: &str) -> Workload {
        Workload {
            authority: authority.to_owned(),
            prefix: "client".into(),
            orders: u32::MAX,
            invalid_every: 0,
            pace: None,
        }
    }

    /// Begins every uid, before the number of the client.
    pub fn prefix(mut self, prefix: &str) -> Workload {
        self.prefix = prefix.into();
        self
    }

    /// How many orders each client gets accepted; about a quarter are newer versions of earlier ones.
    pub fn orders(mut self, orders: u32) -> Workload {
        self.orders = orders;
        self
    }

    /// One request in this many is an order that must be refused.
    pub fn invalid_every(mut self, requests: u32) -> Workload {
        self.invalid_every = requests;
        self
    }

    /// Each client posts one order per `pace` and compares every fourth answer with what GET returns.
    pub fn with_reads(mut self, pace: Duration) -> Workload {
        self.pace = Some(pace);
        self
    }

    /// Starts so many clients.
    pub fn start(&self, env: &Env, clients: u32) -> LoadClients {
        let start = |number| LoadClient::start(env, self, number);
        LoadClients((0..clients).map(start).collect())
    }
}

/// Running clients, each with orders of its own. They are killed when this is dropped.
pub struct LoadClients(Vec<LoadClient>);

impl LoadClients {
    /// How many orders have been accepted so far.
    pub fn accepted(&self) -> usize {
        self.0.iter().map(LoadClient::accepted).sum()
    }

    /// Waits until so many more orders are accepted in all.
    pub fn wait_for_more(&self, orders: usize) {
        let goal = self.accepted() + orders;
        eventually(format!("{goal} accepted orders"), TIMEOUT, || {
            (self.accepted() >= goal).then_some(())
        });
    }

    /// Waits until each client has so many accepted orders.
    pub fn wait_for_each(&self, orders: usize, within: Duration) {
        let deadline = Instant::now() + within;
        for client in &self.0 {
            let left = deadline.saturating_duration_since(Instant::now());
            client.wait_for_accepted(orders, left);
        }
    }

    /// Waits until each client has so many more accepted orders. Panics when one has ended because it
    /// received a wrong answer.
    pub fn wait_for_more_of_each(&mut self, orders: usize, within: Duration) {
        let deadline = Instant::now() + within;
        let goals: Vec<usize> = self.0.iter().map(|it| it.accepted() + orders).collect();
        for (client, goal) in self.0.iter_mut().zip(goals) {
            client.assert_healthy();
            let left = deadline.saturating_duration_since(Instant::now());
            client.wait_for_accepted(goal, left);
        }
    }

    /// Waits until the last answer of each client is a refusal; returns how many orders are accepted.
    /// Before that, a 202 may be on its way to the answer log.
    pub fn wait_until_refused(&self) -> usize {
        eventually("every client to be refused", TIMEOUT, || {
            self.0.iter().all(LoadClient::is_refused).then_some(())
        });
        self.accepted()
    }

    /// Stops each client where it is, possibly within a request, until `thaw`.
    pub fn freeze(&self) {
        self.0.iter().for_each(|it| it.signal(Signal::STOP));
    }

    pub fn thaw(&self) {
        self.0.iter().for_each(|it| it.signal(Signal::CONT));
    }

    /// Has each client complete its current order, until it is accepted, and then wait for `resume`.
    /// Panics when one has ended because it received a wrong answer.
    pub fn suspend(&mut self, within: Duration) {
        self.0.iter().for_each(LoadClient::request_suspension);
        for client in &mut self.0 {
            client.wait_until_suspended(within);
            client.assert_healthy();
        }
    }

    pub fn resume(&self) {
        self.0.iter().for_each(LoadClient::resume);
    }

    /// The answers so far; exact only while the clients are suspended.
    pub fn answers(&self) -> AnswerLog {
        let logs = self.0.iter().map(|client| AnswerLog::read(&client.path));
        logs.reduce(AnswerLog::merge).expect("there are clients")
    }

    /// Ends each client after its current order.
    pub fn stop(self, within: Duration) -> AnswerLog {
        for client in &self.0 {
            File::create(control_file(&client.path, "stop")).expect("the folder is writable");
            client.resume();
        }
        self.finish(within)
    }

    /// Waits until each client has posted everything.
    pub fn finish(mut self, within: Duration) -> AnswerLog {
        for client in &mut self.0 {
            client.wait_until_finished(within);
        }
        self.answers()
    }
}

struct LoadClient {
    child: Child,
    path: PathBuf,
}

impl LoadClient {
    fn start(env: &Env, workload: &Workload, number: u32) -> LoadClient {
        let prefix = format!("{}{number}", workload.prefix);
        let path = env.path().join(format!("{prefix}.answers"));
        let pace = workload.pace.map(|pace| pace.as_millis().to_string());
        let line = format!(
            "{} {prefix} {} {} {} {}",
            workload.authority,
            workload.orders,
            workload.invalid_every,
            pace.as_deref().unwrap_or("-"),
            path.display()
        );
        let child = Command::new(std::env::current_exe().expect("a program knows itself"))
            .args(["audit::client_process", "--exact", "--nocapture"])
            .env(VARIABLE, line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the running program can be started");
        LoadClient { child, path }
    }

    fn accepted(&self) -> usize {
        fs::read_to_string(&self.path)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("accepted "))
            .count()
    }

    /// Whether the last answer in the log is no 202.
    fn is_refused(&self) -> bool {
        let answers = fs::read_to_string(&self.path).unwrap_or_default();
        let complete = answers.strip_suffix('\n').unwrap_or_default();
        let last = complete.lines().next_back().unwrap_or_default();
        last.starts_with("refused ") || last.starts_with("unknown ")
    }

    fn wait_for_accepted(&self, orders: usize, within: Duration) {
        eventually(format!("{orders} accepted orders"), within, || {
            (self.accepted() >= orders).then_some(())
        });
    }

    fn signal(&self, signal: Signal) {
        // A client that has posted everything may have ended.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    fn request_suspension(&self) {
        eventually("the client to have resumed", TIMEOUT, || {
            (!control_file(&self.path, "suspended").exists()).then_some(())
        });
        File::create(control_file(&self.path, "suspend")).expect("the folder is writable");
    }

    fn wait_until_suspended(&self, within: Duration) {
        eventually("the client to be suspended", within, || {
            control_file(&self.path, "suspended").exists().then_some(())
        });
    }

    fn resume(&self) {
        // A client that was never suspended has no such file.
        let _ = fs::remove_file(control_file(&self.path, "suspend"));
    }

    fn assert_healthy(&mut self) {
        let ended = self.child.try_wait().expect("the child can be queried");
        assert!(
            ended.is_none_or(|status| status.success()),
            "a client received a wrong answer"
        );
    }

    fn wait_until_finished(&mut self, within: Duration) {
        let status = eventually("the client to finish", within, || {
            self.child.try_wait().expect("the child can be queried")
        });
        assert!(status.success(), "the client ended with {status}");
    }
}

impl Drop for LoadClient {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A file by which a client is controlled, beside its answer log.
fn control_file(log: &Path, name: &str) -> PathBuf {
    log.with_extension(name)
}
