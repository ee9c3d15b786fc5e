//! The pipeline without faults, from POST to the tables and back; one topic per file.

mod lookups;
mod the_seeds_walk;
mod two_consumers;
mod two_instances;
mod versions;
