//! The real binary as a child process: a command builder, its output, and running services.
//!
//! The environment is cleared: a child has only PATH, HOME and XDG_RUNTIME_DIR (the folder of the
//! test) and the variables of its test. Threads read stdout and stderr, so that a child never blocks
//! on them, unless the test requires that ([`Pipe`]). Dropping a [`Process`] kills it.

use std::io::PipeReader;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::orders::order;
use crate::{TIMEOUT, eventually, eventually_ok, http, wait_until};

mod command;
mod lines;
mod pipes;
mod usage;

pub use command::{Orders, Output, orders};
use lines::Lines;
pub use lines::Transcript;
pub use pipes::Pipe;
pub use usage::process_state;
pub(crate) use usage::stat;

/// A running child.
pub struct Process {
    name: String,
    child: Child,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
    stderr: Lines,
    /// Held open and never read.
    _unread: [Option<PipeReader>; 2],
    _folder: Option<TempDir>,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything on stderr so far.
    pub fn lines(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// The number of lines on stderr, for [`Process::wait_for_line_after`].
    pub fn mark(&self) -> usize {
        self.stderr.guard().lines.len()
    }

    /// The first line on stderr that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_line_after(0, text, TIMEOUT)
    }

    /// The first line after the `mark`-th that contains `text`.
    pub fn wait_for_line_after(&self, mark: usize, text: &str, within: Duration) -> String {
        let found = self.stderr.wait_for(mark, text, within);
        found.unwrap_or_else(|| panic!("`{}` did not log `{text}` within {within:?}", self.name))
    }

    /// The URL of the API.
    pub fn url(&self) -> String {
        self.url_after("listening on ")
    }

    /// The URL of the operators' port.
    pub fn admin_url(&self) -> String {
        self.url_after("operators' port on ")
    }

    fn url_after(&self, words: &str) -> String {
        let line = self.wait_for_line(&format!("{words}http://"));
        let (_, rest) = line.split_once(words).expect("the line contains the words");
        let url = rest.split_whitespace().next().expect("a URL follows");
        url.trim_end_matches('/').to_owned()
    }

    /// `host:port` of the API.
    pub fn authority(&self) -> String {
        self.url().replace("http://", "")
    }

    /// `host:port` of the operators' port.
    pub fn admin_authority(&self) -> String {
        self.admin_url().replace("http://", "")
    }

    /// Waits for /readyz to answer 200.
    pub fn wait_ready(&self) {
        self.wait_ready_within(TIMEOUT);
    }

    pub fn wait_ready_within(&self, within: Duration) {
        let url = format!("{}/readyz", self.admin_url());
        let what = format!("`{}` to be ready", self.name);
        eventually_ok(what, within, || match http::try_get(&url) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        });
    }

    /// Waits until /readyz answers 503 and a failing check contains this text; returns that check.
    pub fn wait_until_unready(&self, text: &str) -> String {
        eventually(format!("a failing check with `{text}`"), TIMEOUT, || {
            self.failing_check(text)
        })
    }

    /// The failing check with this text, where /readyz answers 503.
    pub fn failing_check(&self, text: &str) -> Option<String> {
        let (status, body) = self.readiness();
        let mut checks = body.lines().filter(|line| line.starts_with("FAIL "));
        let check = checks.find(|line| line.contains(text))?;
        (status == 503).then(|| check.to_owned())
    }

    /// Status and body of `/readyz?verbose`.
    pub fn readiness(&self) -> (u16, String) {
        let answer = http::get(&format!("{}/readyz?verbose", self.admin_url()));
        (answer.status, answer.text())
    }

    /// Posts this body to /orders.
    pub fn post(&self, body: impl AsRef<[u8]>) -> http::Response {
        http::post(&format!("{}/orders", self.url()), body)
    }

    /// Posts the first version of an order.
    pub fn post_order(&self, uid: &str) -> http::Response {
        self.post(order(uid).to_string())
    }

    /// Posts the first version of an order; panics unless the answer is 202.
    pub fn accepts(&self, uid: &str) {
        self.post_order(uid).expect_status(202);
    }

    pub fn get_order(&self, uid: &str) -> http::Response {
        http::get(&format!("{}/api/order/{uid}", self.url()))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child exists");
    }

    /// Sends SIGSTOP and waits until the child is stopped.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        wait_until(format!("`{}` to be stopped", self.name), TIMEOUT, || {
            process_state(self.id()) == Some('T')
        });
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill9(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Sends SIGTERM and waits for the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(TIMEOUT)
    }

    /// Sends SIGTERM; panics unless the service exits with 0 in time.
    pub fn stop_within(&mut self, limit: Duration) {
        let began = Instant::now();
        assert_eq!(self.stop().code(), Some(0), "{:?}", self.lines());
        let elapsed = began.elapsed();
        assert!(elapsed < limit, "`{}` stopped after {elapsed:?}", self.name);
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the child can be queried")
            .is_none()
    }

    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        eventually(format!("`{}` to exit", self.name), within, || {
            self.child.try_wait().expect("the child can be queried")
        })
    }

    /// The result of a service that exits.
    pub fn finished(&mut self) -> Output {
        let status = self.wait_exit(TIMEOUT);
        self.output(status)
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let stdout = self.stdout.take().expect("the output is read once");
        let stdout = stdout.join().expect("a reader does not panic");
        self.stderr.wait_closed();
        Output {
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: self
                .lines()
                .iter()
                .map(|line| line.to_owned() + "\n")
                .collect(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
