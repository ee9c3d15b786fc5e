//! One body a promise, run for each engine that keeps it.

use super::Env;

/// Makes one test of each body for each engine: `engine => its subject`, then the bodies.
#[macro_export]
macro_rules! each_engine_keeps {
    ([$($engine:ident => $subject:expr),+ $(,)?] $promises:tt) => {
        $($crate::each_engine_keeps!(@ $engine, $subject, $promises);)+
    };
    (@ $engine:ident, $subject:expr, [$($promise:ident),+ $(,)?]) => {
        mod $engine {
            $(#[test]
            fn $promise() {
                super::$promise(&$subject);
            })+
        }
    };
}

/// The same for whole pipelines: on Kafka and PostgreSQL, and on the embedded engines.
#[macro_export]
macro_rules! both_keep {
    ($promises:tt) => {
        $crate::each_engine_keeps! {
            [
                servers => $crate::Engines::Servers,
                embedded => $crate::Engines::Embedded,
            ]
            $promises
        }
    };
}

/// What a test's pipeline stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// Kafka and PostgreSQL.
    Servers,
    /// SQLite files, in a data folder of their own.
    Embedded,
}

impl Engines {
    /// Neither tables nor topics are there yet.
    pub fn bare(self) -> Env {
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
        self.bare().prepared(partitions)
    }

    /// What differs between the two, told in one place of a test.
    pub fn pick<T>(self, servers: T, embedded: T) -> T {
        match self {
            Engines::Servers => servers,
            Engines::Embedded => embedded,
        }
    }
}
