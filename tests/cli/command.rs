//! Runs the real binary in an empty folder with an empty environment, and compares its output.

use std::fs::{self, File};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing here waits for a server: a minute means that it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A command line to run.
#[must_use = "a command does nothing before run"]
pub struct Command {
    cwd: TempDir,
    streams: TempDir,
    command: std::process::Command,
}

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `orders` with arguments separated by blanks.
pub fn orders(arguments: &str) -> Command {
    let cwd = TempDir::new().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_orders"));
    command
        .args(arguments.split_whitespace())
        .env_clear()
        .current_dir(cwd.path())
        .stdin(Stdio::null());
    Command {
        cwd,
        streams: TempDir::new().unwrap(),
        command,
    }
}

impl Command {
    pub fn env(mut self, name: &str, value: &str) -> Command {
        self.command.env(name, value);
        self
    }

    /// One more argument, which may have blanks.
    pub fn argument(mut self, argument: &str) -> Command {
        self.command.arg(argument);
        self
    }

    /// A file in the folder it runs in.
    pub fn file(self, name: &str, text: &str) -> Command {
        fs::write(self.cwd.path().join(name), text).unwrap();
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Ran {
        let (stdout, stderr) = (self.stream("stdout"), self.stream("stderr"));
        let child = self.command.stdout(stdout).stderr(stderr).spawn().unwrap();
        let status = wait(child);
        Ran {
            status: status.code(),
            stdout: self.text_of("stdout"),
            stderr: self.text_of("stderr"),
        }
    }

    /// Runs it with a closed stdout.
    pub fn run_into_a_closed_pipe(mut self) -> Ran {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let stderr = self.stream("stderr");
        let child = self.command.stdout(writer).stderr(stderr).spawn().unwrap();
        let status = wait(child);
        Ran {
            status: status.code(),
            stdout: String::new(),
            stderr: self.text_of("stderr"),
        }
    }

    fn stream(&self, name: &str) -> File {
        File::create(self.streams.path().join(name)).unwrap()
    }

    fn text_of(&self, name: &str) -> String {
        fs::read_to_string(self.streams.path().join(name)).unwrap()
    }
}

impl Ran {
    /// Compares everything.
    #[track_caller]
    pub fn expect(&self, status: i32, stdout: &str, stderr: &str) {
        let got = (self.status, self.stdout.as_str(), self.stderr.as_str());
        assert_eq!(got, (Some(status), stdout, stderr));
    }

    /// stdout as the one JSON document that it must be.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Both streams.
    pub fn everything(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

fn wait(mut child: Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("still running after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
