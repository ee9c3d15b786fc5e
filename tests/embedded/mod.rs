//! The embedded engines as their users meet them: one process or several, killed, out of room, moved
//! up to Kafka and PostgreSQL. No server is used but where a test says so.

mod kills;
mod roles;
mod up;
