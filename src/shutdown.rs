//! Signals: the first SIGINT, SIGTERM or SIGHUP requests a drain, a second SIGINT or SIGTERM ends the
//! process at once.
//!
//! Owns the signal handlers of the services and the one flag that all of their loops watch; how each
//! drains is its own matter. Threads wait with [`Shutdown::wait_timeout`], tasks await
//! [`Shutdown::requested`]. The second signal ends the process inside the signal handler, so it works
//! even when every thread is stuck.
//!
//! A terminal that closes sends SIGHUP, often twice (by the shell and by the kernel), so a second one
//! ends nothing; a process that was started with SIGHUP ignored (`nohup`) goes on ignoring it.

use std::fs;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::exit::Exit;
use crate::sync::lock;

/// Whether a stop was requested; clones share the flag.
#[derive(Clone)]
pub struct Shutdown(Arc<Inner>);

struct Inner {
    requested: Mutex<bool>,
    condvar: Condvar,
    /// The same flag for tasks, which must not block on the mutex.
    tasks: watch::Sender<bool>,
    /// Whether a stop was announced; a requested one is.
    announced: watch::Sender<bool>,
}

impl Shutdown {
    /// A shutdown that no signal triggers, only [`Shutdown::request`]: for tests.
    pub fn manual() -> Shutdown {
        Shutdown(Arc::new(Inner {
            requested: Mutex::new(false),
            condvar: Condvar::new(),
            tasks: watch::Sender::new(false),
            announced: watch::Sender::new(false),
        }))
    }

    /// Handles SIGINT, SIGTERM and SIGHUP for the rest of the process. The stop is announced at the
    /// first signal, and requested after `drain_delay`. Call it once.
    pub fn install(drain_delay: Duration) -> anyhow::Result<Shutdown> {
        // In this order: on the first signal the flag is still false, so the handler that exits does
        // nothing, and then the second handler sets it. A second signal of either kind exits.
        let draining = Arc::new(AtomicBool::new(false));
        let exits = [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)];
        for (signal, exit) in exits {
            flag::register_conditional_shutdown(signal, exit.code().into(), draining.clone())
                .context("installing the handler for a second signal")?;
            flag::register(signal, draining.clone())
                .context("installing the handler for a first signal")?;
        }
        let mut first = vec![SIGINT, SIGTERM];
        if !is_hangup_ignored() {
            flag::register(SIGHUP, draining).context("installing the handler for SIGHUP")?;
            first.push(SIGHUP);
        }
        let mut signals = Signals::new(first).context("installing the signal handlers")?;
        let shutdown = Shutdown::manual();
        let requested = shutdown.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                if signals.forever().next().is_some() {
                    requested.announce(drain_delay);
                    requested.request();
                }
            })
            .context("starting the signal thread")?;
        Ok(shutdown)
    }

    /// Announces the stop and blocks for `drain_delay`, or until the stop is requested meanwhile.
    fn announce(&self, drain_delay: Duration) {
        if drain_delay.is_zero() {
            tracing::info!("stopping: draining, a second signal ends the process at once");
            return;
        }
        tracing::info!(
            "stopping: not ready from now on, draining in {drain_delay:?}, a second signal ends the \
             process at once"
        );
        self.0.announced.send_replace(true);
        self.wait_timeout(drain_delay);
    }

    /// Whether a stop was requested; never blocks.
    pub fn is_requested(&self) -> bool {
        *self.0.tasks.borrow()
    }

    /// Blocks until a stop is requested, for at most `within`; whether one was.
    pub fn wait_timeout(&self, within: Duration) -> bool {
        let Inner {
            requested, condvar, ..
        } = &*self.0;
        let (requested, _) = condvar
            .wait_timeout_while(lock(requested), within, |requested| !*requested)
            .unwrap_or_else(PoisonError::into_inner);
        *requested
    }

    /// Resolves when a stop is requested, at once when one already was.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        self.wait_for(&self.0.tasks)
    }

    /// Resolves when a stop is announced: requests are still served, and new ones should go
    /// elsewhere.
    pub fn announced(&self) -> impl Future<Output = ()> + Send + 'static {
        self.wait_for(&self.0.announced)
    }

    fn wait_for(&self, flag: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
        let mut flag = flag.subscribe();
        // The sender outlives the wait: it is held here.
        let held = self.clone();
        async move {
            let _ = flag.wait_for(|is_set| *is_set).await;
            drop(held);
        }
    }

    /// Requests a stop, as the first signal does.
    pub fn request(&self) {
        *lock(&self.0.requested) = true;
        self.0.condvar.notify_all();
        self.0.tasks.send_replace(true);
        self.0.announced.send_replace(true);
    }
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does. Where /proc does not tell,
/// it was not.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    has_signal(&status, "SigIgn:", SIGHUP)
}

/// Whether the mask of that name in the text of /proc/PID/status has the signal.
fn has_signal(status: &str, name: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_a_request_ends_at_its_timeout() {
        let shutdown = Shutdown::manual();
        assert!(!shutdown.wait_timeout(Duration::from_millis(5)));
        assert!(!shutdown.is_requested());
    }

    #[test]
    fn a_request_wakes_every_clone() {
        let shutdown = Shutdown::manual();
        let waiting = shutdown.clone();
        let waiter = thread::spawn(move || waiting.wait_timeout(Duration::from_secs(30)));
        shutdown.request();
        assert!(waiter.join().unwrap());
        assert!(shutdown.is_requested());
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_the_kernel() {
        let status = "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(has_signal(status, "SigIgn:", SIGHUP));
        assert!(!has_signal(status, "SigIgn:", SIGINT));
        assert!(!has_signal("SigIgn:\tnone", "SigIgn:", SIGHUP));
    }

    #[test]
    fn an_announced_stop_is_requested_after_its_delay_or_before_it_by_others() {
        let shutdown = Shutdown::manual();
        let announcing = shutdown.clone();
        let delay = Duration::from_secs(600);
        let announcer = thread::spawn(move || announcing.announce(delay));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(shutdown.announced());
        assert!(!shutdown.is_requested());
        shutdown.request();
        announcer.join().unwrap();
    }

    #[test]
    fn a_task_sees_a_request_made_before_it_waited() {
        let shutdown = Shutdown::manual();
        shutdown.request();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(shutdown.requested());
    }
}
