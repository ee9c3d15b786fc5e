//! The embedded engines as their users meet them: one process or several, killed, out of room, files
//! damaged under their hands, moved up to Kafka and PostgreSQL. No server is used but where a test
//! says so.

mod kills;
mod log;
mod log_damage;
mod moving_up;
mod roles;
mod up;
