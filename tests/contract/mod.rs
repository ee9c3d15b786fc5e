//! The guarantees of the two traits, one body per guarantee, run for each engine.
//!
//! A body receives the engine as its trait and knows nothing of Kafka or PostgreSQL; one line in
//! `for_each_engine!` adds an engine.

mod dead_letters;
mod event_log;
mod log_reading;
pub mod logs;
mod memory;
mod order_store;
mod owner;
mod reapply;
mod store_reading;
mod stores;
