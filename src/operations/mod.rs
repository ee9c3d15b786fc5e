//! What the operators' commands decide and do.
//!
//! Owns how they ask the parts of a running system without waiting for one that does not answer.

pub mod actor;
pub mod deadline;
