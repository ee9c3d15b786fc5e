//! The process of a private server, with its folder and port.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{START, free_port, signal};
use crate::eventually;

/// A server that is running or stopped. Dropping it kills the process.
pub struct Server {
    name: &'static str,
    pub dir: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    pub fn new(name: &'static str) -> Server {
        let dir = TempDir::with_prefix(format!("orders-{name}-"));
        Server {
            name,
            dir: dir.expect("a temporary folder can be made"),
            port: free_port(),
            child: None,
        }
    }

    /// Starts the process; its output is appended to its log file.
    pub fn spawn(&mut self, command: &mut Command) {
        assert!(self.child.is_none(), "{} is stopped first", self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file());
        let log = log.expect("the folder is writable");
        let stdout = log.try_clone().expect("a file can be shared");
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the server can be started"));
    }

    /// The output of all its processes so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join(format!("{}.log", self.name))
    }

    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Whether the process has exited by itself.
    pub fn has_exited(&mut self) -> bool {
        let child = self.child.as_mut().expect("the server was started");
        let status = child.try_wait().expect("the child can be queried");
        status.is_some()
    }

    /// Sends a signal and waits until the process exits.
    pub fn terminate(&mut self, how: Signal) {
        signal(self.id(), how);
        self.wait_until_exited();
    }

    /// Waits until the process exits, so that it can be started again.
    pub fn wait_until_exited(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        eventually(format!("{} to exit", self.name), START, || {
            child.try_wait().expect("the child can be queried")
        });
    }

    /// Kills the process where it runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = (child.kill(), child.wait());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
