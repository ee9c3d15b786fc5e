//! The pipeline as its users see it, with nothing broken on purpose: from POST to the tables and
//! back, one theme a file.

mod lookups;
mod the_seeds_walk;
mod two_consumers;
mod two_instances;
mod versions;
