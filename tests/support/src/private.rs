//! Servers for one test alone, for tests that stop, freeze, kill or rewrite them.
//!
//! Both keep their port and folder over a restart and end with the test. `tests/run` provides the jars
//! and programs.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::process_state;
use crate::{TIMEOUT, eventually, wait_until};

mod kafka;
mod nginx;
mod pgbouncer;
mod postgres;
mod postgres_faults;
mod server;

pub use kafka::PrivateKafka;
pub use nginx::PrivateNginx;
pub use pgbouncer::PgBouncer;
pub use postgres::PrivatePostgres;

/// How long a server may take to start; a killed broker waits for its own session to expire.
const START: Duration = Duration::from_secs(90);

/// Sends a signal to a process that may have ended.
fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.expect("a process id"), signal);
}

fn stop_and_wait(pid: u32) {
    signal(pid, Signal::STOP);
    wait_until(format!("process {pid} to be stopped"), TIMEOUT, || {
        process_state(pid).is_none_or(|state| matches!(state, 'T' | 'Z'))
    });
}

/// A port that was free a moment ago, below the range of outgoing connections.
fn free_port() -> u16 {
    eventually("a free port", TIMEOUT, || {
        let random = uuid::Uuid::new_v4().as_u128();
        let port = 20_000 + u16::try_from(random % 12_000).expect("a small number");
        let listener = TcpListener::bind(("127.0.0.1", port));
        listener.is_ok().then_some(port)
    })
}

/// `host:port` on the loopback interface, at a port that was free a moment ago.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
