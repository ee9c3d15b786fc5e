//! One test body per guarantee, run for each engine that keeps it.

use super::Env;

/// Defines one test per body and engine: `engine => its subject`, then the bodies.
#[macro_export]
macro_rules! for_each_engine {
    ([$($engine:ident => $subject:expr),+ $(,)?] $guarantees:tt) => {
        $($crate::for_each_engine!(@ $engine, $subject, $guarantees);)+
    };
    (@ $engine:ident, $subject:expr, [$($guarantee:ident),+ $(,)?]) => {
        mod $engine {
            $(#[test]
            fn $guarantee() {
                super::$guarantee(&$subject);
            })+
        }
    };
}

/// The same for whole pipelines: on Kafka and PostgreSQL, and on the embedded engines.
#[macro_export]
macro_rules! on_both_engines {
    ($guarantees:tt) => {
        $crate::for_each_engine! {
            [
                servers => $crate::Engines::Servers,
                embedded => $crate::Engines::Embedded,
            ]
            $guarantees
        }
    };
}

/// The engines of a test's pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// Kafka and PostgreSQL.
    Servers,
    /// SQLite files in a data folder of their own.
    Embedded,
}

impl Engines {
    /// Without tables and topics.
    pub fn empty(self) -> Env {
        match self {
            Engines::Servers => Env::empty(),
            Engines::Embedded => Env::embedded(),
        }
    }

    /// Migrated, with topics of one partition.
    pub fn ready(self) -> Env {
        self.with_partitions(1)
    }

    /// Migrated, with `partitions` partitions of the topic of orders.
    pub fn with_partitions(self, partitions: i32) -> Env {
        self.empty().prepared(partitions)
    }

    /// The one of two values that belongs to these engines.
    pub fn select<T>(self, servers: T, embedded: T) -> T {
        match self {
            Engines::Servers => servers,
            Engines::Embedded => embedded,
        }
    }
}
