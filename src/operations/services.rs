//! The services of this user on this machine, found by their control sockets.
//!
//! # Invariants
//!
//! - Only sockets of this user are opened, in a folder that nobody else can enter.
//! - A service that does not answer in time is an entry that says so, never a wait. The socket of a
//!   process that has ended is none.

use std::path::Path;

use anyhow::Context;

use super::control_client::{ControlClient, ControlError};
use super::deadline;
use crate::admin::control_folder::{self, is_of_ended_process};

/// A service of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service<T> {
    /// `api`, `consumer` or `up`, by the name of the socket.
    pub role: String,
    pub pid: u32,
    /// The answer, or why there is none: what follows the service's name in a sentence.
    pub answer: Result<T, String>,
}

/// Asks every service whose control socket is in `folder`, all at once, each within
/// [`deadline::SOURCE_TIMEOUT`]. Sorted by role and pid; empty when none runs.
///
/// # Errors
///
/// The folder cannot be read, or others can enter it.
pub fn ask<T: Send + 'static>(
    folder: &Path,
    question: fn(&ControlClient) -> Result<T, ControlError>,
) -> anyhow::Result<Vec<Service<T>>> {
    let sockets = control_folder::sockets(folder).context("looking for running services")?;
    let asked: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            let client = ControlClient::new(&socket.path);
            (socket, deadline::ask(move || question(&client)))
        })
        .collect();
    let mut services = Vec::new();
    for (socket, pending) in asked {
        let answer = match pending.wait() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ControlError::NotListening(_))) if is_of_ended_process(&socket.path) => continue,
            Ok(Err(error)) => Err(error.to_string()),
            Err(no_answer) => Err(no_answer.to_string()),
        };
        services.push(Service {
            role: socket.role,
            pid: socket.pid,
            answer,
        });
    }
    Ok(services)
}

/// The uptime of a service for people, in its largest unit.
pub fn uptime(seconds: u64) -> String {
    let (minute, hour, day) = (60, 60 * 60, 24 * 60 * 60);
    match seconds {
        _ if seconds < minute => format!("{seconds} s"),
        _ if seconds < hour => format!("{} min", seconds / minute),
        _ if seconds < day => format!("{} h", seconds / hour),
        _ => format!("{} d", seconds / day),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;

    #[test]
    fn services_that_do_not_answer_cost_one_deadline_and_ended_ones_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let at = |name: &str| folder.path().join(name);
        // The greatest pid of Linux is below this one.
        let ended = i32::MAX;
        drop(UnixListener::bind(at(&format!("api-{ended}.sock"))).unwrap());
        // Process 1 runs, and does not listen here.
        drop(UnixListener::bind(at("api-1.sock")).unwrap());
        let silent = ["consumer-1.sock", "up-1.sock"];
        let _silent = silent.map(|name| UnixListener::bind(at(name)).unwrap());

        let began = Instant::now();
        let services = ask(folder.path(), ControlClient::status).unwrap();
        assert!(began.elapsed() < deadline::SOURCE_TIMEOUT * 2);
        let lines: Vec<String> = services
            .into_iter()
            .map(|it| format!("{} {} {}", it.role, it.pid, it.answer.unwrap_err()))
            .collect();
        let expected = [
            "api 1 does not listen on its control socket: Connection refused (os error 111)",
            "consumer 1 did not answer within 800 ms",
            "up 1 did not answer within 800 ms",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_uptime_is_in_its_largest_unit() {
        let shown = [0, 59, 60, 3_599, 3_600, 86_399, 86_400 * 9].map(uptime);
        let expected = ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "9 d"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_a_folder_no_service_runs() {
        let folder = tempfile::tempdir().unwrap();
        let services = ask(&folder.path().join("orders"), ControlClient::status);
        assert_eq!(services.unwrap(), []);
    }
}
