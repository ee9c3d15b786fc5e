//! Signals: the first SIGINT or SIGTERM requests a drain, the second ends the process at once.
//!
//! Owns the signal handlers of the services and the one flag that all of their loops watch; how each
//! drains is its own matter. Threads wait with [`Shutdown::wait_timeout`], tasks await
//! [`Shutdown::requested`]. The second signal ends the process inside the signal handler, so it works
//! even when every thread is stuck.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
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
}

impl Shutdown {
    /// A shutdown that no signal triggers, only [`Shutdown::request`]: for tests.
    pub fn manual() -> Shutdown {
        let (tasks, _) = watch::channel(false);
        Shutdown(Arc::new(Inner {
            requested: Mutex::new(false),
            condvar: Condvar::new(),
            tasks,
        }))
    }

    /// Handles SIGINT and SIGTERM for the rest of the process. Call it once.
    pub fn install() -> anyhow::Result<Shutdown> {
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
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).context("installing the signal handlers")?;
        let shutdown = Shutdown::manual();
        let requested = shutdown.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                if signals.forever().next().is_some() {
                    tracing::info!("stopping: draining, a second signal ends the process at once");
                    requested.request();
                }
            })
            .context("starting the signal thread")?;
        Ok(shutdown)
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
        let mut tasks = self.0.tasks.subscribe();
        // The sender outlives the wait: it is held here.
        let held = self.clone();
        async move {
            let _ = tasks.wait_for(|requested| *requested).await;
            drop(held);
        }
    }

    /// Requests a stop, as the first signal does.
    pub fn request(&self) {
        *lock(&self.0.requested) = true;
        self.0.condvar.notify_all();
        self.0.tasks.send_replace(true);
    }
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
    fn a_task_sees_a_request_made_before_it_waited() {
        let shutdown = Shutdown::manual();
        shutdown.request();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(shutdown.requested());
    }
}
