//! All integration tests in one binary, against a real Kafka and a real PostgreSQL.
//!
//! `tests/run` starts both and passes their addresses in ORDERS_TEST_KAFKA and ORDERS_TEST_PG;
//! `tests/run test NAME` runs some tests. `cli` tests the commands, `pipeline` the pipeline without
//! faults, `bad_input` invalid orders and requests, `services` how both services start, stop and are
//! killed, `faults` what the consumer survives, `scale` large databases, `contract` the guarantees of
//! the two traits, `embedded` the embedded engines, `dead_letters` their repair, `openapi` the description of the API, `operators` the operators' commands, `architecture` the rules of
//! the source code. Support code is in the crate `support`.

mod architecture;
mod audit;
mod bad_input;
mod cli;
mod contract;
mod dead_letters;
mod embedded;
mod faults;
mod openapi;
mod operators;
mod pipeline;
mod scale;
mod services;
