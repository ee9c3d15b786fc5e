//! `orders`: one order pipeline and everything its operators do around it.
//!
//! The modules, in the order in which an order passes them:
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | parses the command line and names one command |
//! | [`commands`] | one file a subcommand: opens what it needs, does it, reports |
//! | [`config`] | flags, environment and `.env` file, resolved once, each value with its origin |
//! | [`client`] | `send` POSTs an order, `get` asks for one |
//! | [`http_server`] | accepts the connection and bounds its time and number |
//! | [`api`] | `POST /orders`: reads the body, answers 202 once the log has the order |
//! | [`order`] | decodes, validates and encodes an order; describes its fields once |
//! | [`event_log`] | appends the record to the topic `orders`: Kafka or a SQLite file |
//! | [`pipeline`] | record, position, version and the lookup protocol: what travels between processes |
//! | [`consumer`] | reads the topic as a member of a group, decides what becomes of each record |
//! | [`store`] | applies a batch and its position in one transaction: PostgreSQL or a SQLite file |
//! | [`cache`] | `GET /api/order/<uid>`: what the API followed or looked up, bounded in bytes and time |
//!
//! A GET that misses the cache sends a request to the topic `order-lookup`; `consumer::lookup` asks
//! the store and replies to `order-found`, which `api::followers` reads into the cache.
//!
//! Around them:
//!
//! | module | what it does |
//! |---|---|
//! | [`operations`] | what the operators' commands decide and do |
//! | [`migrations`] | brings the store's schema up to date |
//! | [`access`] | tokens, scopes and hosts: who may send a request to a port |
//! | [`admin`] | `/livez`, `/readyz`, `/metrics` and the control socket of each service |
//! | [`data_folder`], [`sqlite_file`] | the embedded engines: one folder, two guarded files |
//! | [`owner`] | whether others can change a file that is trusted |
//! | [`output`], [`exit`], [`escape`] | what commands print, how they end, foreign text made safe |
//! | [`diagnostics`], [`shutdown`] | log lines on stderr; signals and draining |
//! | [`process_name`] | how the process is named to others |
//! | [`sync`] | locking |
//! | [`failpoint`], [`timeouts`] | what tests may crash, stall or shorten |
//!
//! Dependencies point one way: `main → cli → commands → {operations, api, consumer, migrations, client}
//! → {admin, event_log, store, cache} → {http_server, access, sqlite_file, pipeline} → order`.

#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod access;
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
pub mod operations;
pub mod order;
pub mod output;
pub mod owner;
pub mod pipeline;
pub mod process_name;
pub mod shutdown;
pub mod sqlite_file;
pub mod store;
pub mod sync;
pub mod timeouts;
