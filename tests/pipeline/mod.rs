//! The pipeline without faults, from POST to the tables and back.

mod end_to_end;
mod lookups;
mod two_consumers;
mod two_instances;
mod versions;
