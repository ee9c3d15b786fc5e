//! What the operators' commands decide and do.
//!
//! Owns how they ask the parts of a running system without waiting for one that does not answer, what
//! they conclude from the answers, and who they say changed something.

pub mod actor;
pub mod control_client;
pub mod dead_letters;
pub mod deadline;
pub mod differences;
pub mod files;
pub mod forget;
pub mod gaps;
pub mod lag;
mod reading;
pub mod reapply;
pub mod replay;
pub mod services;
pub mod status;
pub mod trace;
pub mod verify;
