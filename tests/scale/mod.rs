//! Databases with many orders: what was fast on a small one stays fast.
//!
//! A figure depends on the machine, so these compare with a small database of the same run, or count
//! what the server read. `benches/run scale` has the figures, with a million orders.

mod cold_gets;
mod export;
mod warm_up;
