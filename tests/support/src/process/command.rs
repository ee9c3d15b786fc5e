//! A command of `orders`: its arguments, variables and streams, and its result.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use super::Process;
use tempfile::TempDir;

use super::lines::{Lines, Transcript};
use super::pipes::Pipe;
use crate::{Env, TIMEOUT, folder};

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
    pub(crate) fn new(env: &'e Env, args: &[&str]) -> Orders<'e> {
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

    /// Replaces some of the default timeouts, such as `lane=3000ms`.
    pub fn timeouts(self, timeouts: &str) -> Self {
        self.env("ORDERS_TEST_TIMEOUTS", timeouts)
    }

    /// Sets the address of the API, which then stays the same over restarts.
    pub fn http_addr(self, address: &str) -> Self {
        self.env("HTTP_ADDR", address)
    }

    /// The API loads no order into its cache when it starts.
    pub fn without_warm_up(self) -> Self {
        self.env("CACHE_LOAD_LIMIT", "0")
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

    /// Runs it through another program, such as `prlimit`.
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

    /// Runs it and waits until it exits, at most twice [`TIMEOUT`].
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
