//! A disk that reports errors, on request and for one file: a small library between the program and
//! libc, compiled here, as the build needs a C compiler anyway.
//!
//! Calls that fail have done nothing. What a true disk keeps of a write whose sync failed is not
//! known; here it is all there, which is the harder case: what was not promised may come back.

use std::path::PathBuf;
use std::process::Command;

use super::{Env, Orders};

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Sync,
}

/// The errors of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    Io = 5,
    NoSpace = 28,
}

pub struct FailingDisk {
    library: PathBuf,
    rules: PathBuf,
}

impl FailingDisk {
    /// One that works, until `fail`.
    pub fn new(env: &Env) -> FailingDisk {
        let source = env.path().join("failing_disk.c");
        let library = env.path().join("failing_disk.so");
        std::fs::write(&source, include_str!("failing_disk.c")).expect("the folder is writable");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .output()
            .expect("a C compiler can be started");
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{said}");
        FailingDisk {
            library,
            rules: env.path().join("failing_disk.rules"),
        }
    }

    /// Has a command use this disk.
    pub fn under<'e>(&self, command: Orders<'e>) -> Orders<'e> {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAILING_DISK_RULES", &self.rules)
    }

    /// From now on these calls fail on files whose paths end like this.
    pub fn fail(&self, faults: &[(Call, Errno, &str)]) {
        let line = |(call, errno, end): &(Call, Errno, &str)| {
            let call = match call {
                Call::Read => "read",
                Call::Write => "write",
                Call::Sync => "fsync",
            };
            format!("{call} {} {end}\n", *errno as i32)
        };
        let rules: String = faults.iter().map(line).collect();
        // In one step: a rule that is read by halves would be another one.
        let beside = self.rules.with_extension("new");
        std::fs::write(&beside, rules)
            .and_then(|()| std::fs::rename(&beside, &self.rules))
            .expect("the folder is writable");
    }

    /// The disk is well again.
    pub fn heal(&self) {
        std::fs::remove_file(&self.rules).expect("something failed");
    }
}
