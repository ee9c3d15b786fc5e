//! What the operators' commands print and do, with true servers and with the embedded engines.

mod erase;
mod gaps;
mod lag;
mod list;
mod replay;
mod replay_uids;
mod status;
