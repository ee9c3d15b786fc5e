//! The real binary as a child process: a command builder, its output, and running services.
//!
//! The environment is cleared: a child has only PATH, HOME and XDG_RUNTIME_DIR (the folder of the
//! test) and the variables of its test. Threads read stdout and stderr, so that a child never blocks
//! on them, unless the test asks for that ([`Pipe`]). Dropping a [`Process`] kills it.

use std::ffi::OsStr;
use std::io::{PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::orders::order;
use crate::{Env, TIMEOUT, eventually, folder, http};

mod lines;
mod pipes;
mod usage;

use lines::Lines;
pub use lines::Transcript;
pub use pipes::Pipe;
pub use usage::{metric, process_state};

/// A command of `orders`, with the variables of its test.
#[must_use = "a command does nothing before run, spawn or start"]
pub struct Orders<'e> {
    home: Home<'e>,
    command: Command,
    name: String,
    stdin: Vec<u8>,
    stdout: Pipe,
    stderr: Pipe,
}

/// The folder that a command runs in.
enum Home<'e> {
    Test(&'e Env),
    Own(TempDir),
}

/// `orders` in an empty folder and without settings, its arguments separated by blanks.
pub fn orders(arguments: &str) -> Orders<'static> {
    let args: Vec<&str> = arguments.split_whitespace().collect();
    Orders::at(Home::Own(folder()), &args)
}

impl<'e> Orders<'e> {
    pub(super) fn new(env: &'e Env, args: &[&str]) -> Orders<'e> {
        Orders::at(Home::Test(env), args)
    }

    fn at(home: Home<'e>, args: &[&str]) -> Orders<'e> {
        let folder = match &home {
            Home::Test(env) => env.path(),
            Home::Own(folder) => folder.path(),
        };
        let mut command = Command::new(program());
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .current_dir(folder);
        Orders {
            home,
            command,
            name: args.join(" "),
            stdin: Vec::new(),
            stdout: Pipe::default(),
            stderr: Pipe::default(),
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Replaces some of the timeouts of production, such as `lane=3000ms`.
    pub fn timeouts(self, timeouts: &str) -> Self {
        self.env("ORDERS_TEST_TIMEOUTS", timeouts)
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Writes a file into the folder that it runs in.
    pub fn file(self, name: &str, text: &str) -> Self {
        let folder = self.command.get_current_dir().expect("it was set");
        std::fs::write(folder.join(name), text).expect("the folder is writable");
        self
    }

    /// The standard input of the child; empty by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn stdout(mut self, pipe: Pipe) -> Self {
        self.stdout = pipe;
        self
    }

    pub fn stderr(mut self, pipe: Pipe) -> Self {
        self.stderr = pipe;
        self
    }

    /// Runs it by another program that executes it, such as `prlimit`.
    pub fn wrapped_in(mut self, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.arg(self.command.get_program());
        command.args(self.command.get_args()).env_clear();
        let variables = self.command.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        self.command = command;
        self
    }

    /// Runs it and waits for its end, at most twice [`TIMEOUT`].
    pub fn run(self) -> Output {
        let mut process = self.spawn();
        let status = process.wait_exit(TIMEOUT * 2);
        process.output(status)
    }

    /// Starts it; see [`Process`].
    pub fn spawn(mut self) -> Process {
        let (stdout, unread_stdout) = self.stdout.stdio();
        let (stderr, unread_stderr) = self.stderr.stdio();
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `orders {}`: {error}", self.name));
        // The command holds its ends of the pipes open; a closed pipe must stay closed.
        drop(self.command);
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = self.stdin;
        // A child that does not read must not block the test; its broken pipe is no failure.
        thread::spawn(move || stdin.write_all(&input));
        let stdout = collect_bytes(child.stdout.take());
        let stderr = Lines::collect(child.stderr.take());
        let name = format!("orders {} (pid {})", self.name, child.id());
        let folder = match self.home {
            Home::Test(env) => {
                env.record_transcript(Transcript {
                    name: name.clone(),
                    stderr: stderr.clone(),
                });
                None
            }
            Home::Own(folder) => Some(folder),
        };
        Process {
            name,
            child,
            stdout: Some(stdout),
            stderr,
            _unread: [unread_stdout, unread_stderr],
            _folder: folder,
        }
    }

    /// Starts a service and waits until it is ready.
    pub fn start(self) -> Process {
        let process = self.spawn();
        process.wait_ready();
        process
    }
}

/// The result of a finished command.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics unless the command exited with 0.
    #[track_caller]
    pub fn succeeds(self) -> Output {
        self.exits(0)
    }

    /// Panics with the output of the command unless it exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert_eq!(
            self.code(),
            Some(code),
            "exit code\n-- stdout\n{}\n-- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Panics unless the command printed exactly this.
    #[track_caller]
    pub fn prints(&self, stdout: &str, stderr: &str) {
        assert_eq!((&*self.stdout, &*self.stderr), (stdout, stderr));
    }

    /// Panics unless stderr contains `text`.
    #[track_caller]
    pub fn reports(self, text: &str) -> Output {
        assert!(
            self.stderr.contains(text),
            "no `{text}` in\n{}",
            self.stderr
        );
        self
    }

    /// stdout as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "stdout is not JSON: {error}\n{}\n{}",
                self.stdout, self.stderr
            )
        })
    }
}

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
        let (mut state, deadline) = (self.stderr.guard(), Instant::now() + within);
        loop {
            if let Some(line) = state
                .lines
                .iter()
                .skip(mark)
                .find(|line| line.contains(text))
            {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let said = state.lines.join("\n");
                drop(state);
                panic!(
                    "`{}` did not log `{text}` within {within:?} but\n{said}",
                    self.name
                );
            }
            state = self
                .stderr
                .changed
                .wait_timeout(state, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// Where the API listens.
    pub fn url(&self) -> String {
        address_after(&self.wait_for_line("listening on http://"), "listening on ")
    }

    /// Where the operators' port listens.
    pub fn admin_url(&self) -> String {
        address_after(
            &self.wait_for_line("operators' port on http://"),
            "operators' port on ",
        )
    }

    /// Waits for /readyz to answer 200.
    pub fn wait_ready(&self) {
        self.wait_ready_within(TIMEOUT);
    }

    pub fn wait_ready_within(&self, within: Duration) {
        let url = format!("{}/readyz?verbose", self.admin_url());
        let mut body = String::new();
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match http::try_get(&url) {
                Ok(answer) if answer.status == 200 => return,
                Ok(answer) => body = answer.text(),
                Err(error) => body = error.to_string(),
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!(
            "`{}` is not ready after {within:?}:\n{body}\n{}",
            self.name,
            self.lines().join("\n")
        );
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

    pub fn get_order(&self, uid: &str) -> http::Response {
        http::get(&format!("{}/api/order/{uid}", self.url()))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child exists");
    }

    /// Sends SIGSTOP and waits until the child is stopped.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        eventually(format!("`{}` to be stopped", self.name), TIMEOUT, || {
            process_state(self.id()).filter(|state| *state == 'T')
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
        let asked = Instant::now();
        assert_eq!(self.stop().code(), Some(0), "{:?}", self.lines());
        let elapsed = asked.elapsed();
        assert!(elapsed < limit, "`{}` stopped after {elapsed:?}", self.name);
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the child can be queried")
            .is_none()
    }

    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be queried") {
                return status;
            }
            if Instant::now() >= deadline {
                panic!(
                    "`{}` is still running after {within:?}; its log:\n{}",
                    self.name,
                    self.lines().join("\n")
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The result of a service that ends.
    pub fn finished(&mut self) -> Output {
        let status = self.wait_exit(TIMEOUT);
        self.output(status)
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let stdout = self
            .stdout
            .take()
            .expect("the output is taken once")
            .join()
            .expect("a reader does not panic");
        self.stderr.wait_closed();
        Output {
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: self
                .lines()
                .iter()
                .map(|line| format!("{line}\n"))
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

/// The program under test: Cargo puts it into the folder above that of the test's own executable.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows itself");
    let folder = test.parent().and_then(Path::parent);
    folder
        .expect("Cargo runs a test from a folder of its own")
        .join("orders")
}

/// Returns nothing where the stream is not captured.
fn collect_bytes(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        bytes
    })
}

fn address_after(line: &str, words: &str) -> String {
    let (_, rest) = line
        .split_once(words)
        .expect("the line was found by these words");
    rest.split_whitespace()
        .next()
        .expect("an address follows")
        .trim_end_matches('/')
        .to_owned()
}
