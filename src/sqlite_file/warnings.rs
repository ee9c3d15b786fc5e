//! What operators should know of a file, as its writer saw it last.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::sync::lock;

/// What a warning is about, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// The file cannot be written.
    Failure,
    /// There is no room.
    Shortage,
    /// The WAL is large and cannot be emptied.
    LargeWal,
}

/// The warnings of one file. Nothing here blocks.
#[derive(Default)]
pub struct Warnings(Mutex<BTreeMap<Warning, String>>);

impl Warnings {
    /// The most serious one, in a sentence.
    pub fn first(&self) -> Option<String> {
        lock(&self.0).values().next().cloned()
    }

    /// One of them, in a sentence.
    pub fn get(&self, warning: Warning) -> Option<String> {
        lock(&self.0).get(&warning).cloned()
    }

    /// Sets or clears one.
    pub fn set(&self, warning: Warning, reason: Option<String>) {
        let mut warnings = lock(&self.0);
        match reason {
            Some(reason) => warnings.insert(warning, reason),
            None => warnings.remove(&warning),
        };
    }
}
