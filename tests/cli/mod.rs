//! The commands as processes: exact output and exit codes.
//!
//! Everything here needs no server; what does stands in `pipeline` and `faults`.

mod command;
mod completions;
mod configuration;
mod help;
mod unreachable;
