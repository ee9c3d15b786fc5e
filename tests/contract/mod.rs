//! The promises of the two traits, one body a promise, run for each engine.
//!
//! A body takes the engine as its trait and says nothing of Kafka or PostgreSQL; an engine joins by
//! one line in `engines`.

mod event_log;
pub mod logs;
mod memory;
mod order_store;
mod stores;

/// Makes one test of each body for each engine: `engine: make the subject`, then the bodies.
macro_rules! each_engine_keeps {
    ([$($engine:ident => $subject:expr),+ $(,)?] $promises:tt) => {
        $(crate::contract::each_engine_keeps!(@ $engine, $subject, $promises);)+
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
use each_engine_keeps;
