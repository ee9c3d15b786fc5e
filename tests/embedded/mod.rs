//! What only the embedded engines promise: what becomes of files under their hands.

mod log;
mod log_damage;
