//! The promises of the two traits, one body a promise, run for each engine.
//!
//! A body takes the engine as its trait and says nothing of Kafka or PostgreSQL; an engine joins by
//! one line in `for_each_engine!`.

mod event_log;
mod log_reading;
pub mod logs;
mod memory;
mod order_store;
mod owner;
mod store_reading;
mod stores;
