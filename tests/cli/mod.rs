//! The commands as processes: exact output and exit codes.
//!
//! Commands that need no server run in an empty folder without settings; the others have a database and
//! topics of their own.

mod adoption;
mod completions;
mod config;
mod configuration;
mod create_topics;
mod database_url;
mod export;
mod files;
mod foreign_databases;
mod help;
mod migrate;
mod older_program;
mod proxies;
mod send_and_get;
mod tls;
mod token;
mod trace;
mod unreachable;
mod verify;
