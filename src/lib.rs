//! `orders`: one order pipeline and everything its operators do around it.
//!
//! Arrows never turn back: `main → cli → commands → {api, consumer, migrations, client} →
//! {admin, event_log, store, cache} → {http_server, pipeline} → order`.

#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod admin;
pub mod api;
pub mod cache;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod data_folder;
pub mod diagnostics;
pub mod escape;
pub mod event_log;
pub mod exit;
pub mod failpoint;
pub mod http_server;
pub mod migrations;
pub mod order;
pub mod output;
pub mod pipeline;
#[cfg(test)]
mod replayable;
pub mod shutdown;
pub mod sqlite_file;
pub mod store;
pub mod timeouts;
