//! The answers of the control socket, as the service writes them and other commands read them.
//!
//! Fields may be added: a reader ignores those that it does not know, since a service and the command
//! that asks it need not have the same version.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::config::Entry;

/// The answer to `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// `api`, `consumer` or `up`.
    pub role: String,
    pub version: String,
    pub pid: u32,
    pub uptime_s: u64,
    pub addresses: Addresses,
    /// Every condition of readiness.
    pub checks: Vec<Check>,
}

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Of the public API.
    pub api: Option<SocketAddr>,
    /// Of the operators' port.
    pub admin: SocketAddr,
}

/// The answer to `/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// The folder that relative paths begin in.
    pub folder: String,
    pub settings: Vec<Entry>,
}
