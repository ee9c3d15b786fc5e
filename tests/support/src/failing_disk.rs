//! A disk that reports errors for chosen files: a small library between the program and libc, compiled
//! here, since the build needs a C compiler anyway.
//!
//! A failing call does nothing. A real disk may keep any part of a write whose sync failed; here all
//! of it is kept, the harder case: what was not acknowledged may reappear.

use std::path::PathBuf;
use std::process::Command;

use crate::{Env, Orders};

/// The calls that can fail.
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
    /// A disk that works until `fail`.
    pub fn new(env: &Env) -> FailingDisk {
        let source = env.path().join("failing_disk.c");
        let library = env.path().join("failing_disk.so");
        std::fs::write(&source, include_str!("failing_disk.c")).expect("the folder is writable");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .output()
            .expect("a C compiler can be started");
        let errors = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{errors}");
        FailingDisk {
            library,
            rules: env.path().join("failing_disk.rules"),
        }
    }

    /// Has a command use this disk.
    pub fn attach<'e>(&self, command: Orders<'e>) -> Orders<'e> {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAILING_DISK_RULES", &self.rules)
    }

    /// From now on, these calls fail on files whose paths end with the given text.
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
        // Renamed, so that no reader sees half of a rule.
        let new = self.rules.with_extension("new");
        std::fs::write(&new, rules)
            .and_then(|()| std::fs::rename(&new, &self.rules))
            .expect("the folder is writable");
    }

    /// From now on, no call fails.
    pub fn recover(&self) {
        std::fs::remove_file(&self.rules).expect("there are rules");
    }
}
