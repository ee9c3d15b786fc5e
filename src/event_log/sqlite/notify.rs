//! Waking the readers of a topic.
//!
//! A writer of this process notifies right after its commit. No other process does, so one thread
//! reads the data version, which commits of others change, of every file that has readers.
//!
//! # Invariants
//!
//! - A reader at the end reads the file again only after a notification. An unnecessary one is cheap, a
//!   lost one would be a record that is never read: when in doubt, notify.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::topic::Topic;
use super::{Folder, Reach};
use crate::event_log::LogError;
use crate::sqlite_file::{Access, OpenFile};
use crate::sync::lock;

/// How often the watcher checks for commits of other processes (measured: 2.6 ms late at the median,
/// 0.9 % of a core), and how often where there should be none.
const SHARED_INTERVAL: Duration = Duration::from_millis(5);
const EXCLUSIVE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the path is compared with what is open.
const PATH_INTERVAL: Duration = Duration::from_millis(100);

type Callback = Arc<dyn Fn() + Send + Sync>;

/// Notifies the readers of one topic.
#[derive(Default)]
pub(super) struct Notify {
    sequence: AtomicU64,
    readers: Mutex<BTreeMap<u64, Option<Callback>>>,
    changed: Condvar,
}

impl Notify {
    /// The number of notifications so far. To be read before the file: a notification that comes
    /// meanwhile then ends the next wait at once.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Wakes the readers: something is new, or may be.
    pub(super) fn notify(&self) {
        self.sequence.fetch_add(1, Ordering::AcqRel);
        let callbacks: Vec<Callback> = lock(&self.readers).values().flatten().cloned().collect();
        self.changed.notify_all();
        for callback in callbacks {
            callback();
        }
    }

    /// Waits for a notification after number `seen`; false when none came by `until`.
    pub(super) fn wait(&self, seen: u64, until: Instant) -> bool {
        let mut readers = lock(&self.readers);
        while self.sequence() == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(readers, left);
            readers = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn has_readers(&self) -> bool {
        !lock(&self.readers).is_empty()
    }
}

/// A topic that has a reader, until this is dropped.
pub(super) struct Subscription {
    pub(super) topic: Arc<Topic>,
    /// The watcher lives as long as the folder.
    _folder: Arc<Folder>,
    number: u64,
}

impl Subscription {
    /// Has the topic watched from now on.
    pub(super) fn new(folder: &Arc<Folder>, topic: &Arc<Topic>) -> Result<Subscription, LogError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        lock(&topic.notify.readers).insert(number, None);
        let subscription = Subscription {
            topic: topic.clone(),
            _folder: folder.clone(),
            number,
        };
        let mut is_watching = lock(&folder.is_watching);
        if !*is_watching {
            let weak = Arc::downgrade(folder);
            let thread = std::thread::Builder::new().name("log-watcher".into());
            let started = thread.spawn(move || watch(&weak));
            started.map_err(|error| {
                let name = &topic.name;
                LogError::Unavailable(format!("could not read topic `{name}`: no thread: {error}"))
            })?;
            *is_watching = true;
        }
        Ok(subscription)
    }

    /// Calls `callback` at each notification.
    pub(super) fn on_notify(&self, callback: Box<dyn Fn() + Send + Sync>) {
        let callback: Callback = callback.into();
        let mut readers = lock(&self.topic.notify.readers);
        let replaced = readers.insert(self.number, Some(callback.clone()));
        // A callback may do anything, so none is called or dropped under the lock.
        drop(readers);
        drop(replaced);
        // For records that came before it was set.
        callback();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let callback = lock(&self.topic.notify.readers).remove(&self.number);
        drop(callback);
    }
}

/// A topic as the watcher saw it last.
#[derive(Default)]
struct WatchedTopic {
    open: Option<OpenFile>,
    data_version: i64,
    checked_path_at: Option<Instant>,
}

/// Watches every topic that is read, until there is none or the log is closed.
fn watch(folder: &Weak<Folder>) {
    let mut watched: BTreeMap<String, WatchedTopic> = BTreeMap::new();
    loop {
        let Some(folder) = folder.upgrade() else {
            return;
        };
        let mut topics = folder.topics();
        topics.retain(|topic| topic.notify.has_readers());
        if topics.is_empty() {
            let mut is_watching = lock(&folder.is_watching);
            // A reader that came meanwhile saw this thread and relies on it.
            if !folder
                .topics()
                .iter()
                .any(|topic| topic.notify.has_readers())
            {
                *is_watching = false;
                return;
            }
        }
        watched.retain(|name, _| topics.iter().any(|topic| topic.name == *name));
        for topic in topics {
            let last = watched.entry(topic.name.clone()).or_default();
            if last.is_changed(&topic) {
                topic.notify.notify();
            }
        }
        let interval = match folder.reach {
            Reach::ThisProcess => EXCLUSIVE_INTERVAL,
            Reach::OtherProcesses => SHARED_INTERVAL,
        };
        drop(folder);
        std::thread::sleep(interval);
    }
}

impl WatchedTopic {
    fn is_changed(&mut self, topic: &Topic) -> bool {
        let checked_at = self.checked_path_at;
        if checked_at.is_none_or(|at| at.elapsed() >= PATH_INTERVAL) {
            self.checked_path_at = Some(Instant::now());
            self.open.take_if(|open| !open.is_current());
            if self.open.is_none() {
                self.open = topic.open(Access::Read).ok();
                self.data_version = 0;
                // Readers open it for themselves, and report why they cannot.
                return true;
            }
        }
        let Some(open) = &self.open else {
            return false;
        };
        match open.data_version() {
            Ok(version) => std::mem::replace(&mut self.data_version, version) != version,
            Err(_) => {
                self.open = None;
                true
            }
        }
    }
}
