//! All tests that need more than one module: one binary, against a true Kafka and a true PostgreSQL.
//!
//! `tests/run` starts both and says where they are in ORDERS_TEST_KAFKA and ORDERS_TEST_PG;
//! `tests/run test NAME` runs some of them. The crate `support` holds the builders, the
//! modules the rules: `cli` the commands, `pipeline` what works, `bad_input` what comes that is no order,
//! `services` how both services start, stop and are killed, `faults` what the consumer must survive,
//! `contract` the promises of the two traits, `embedded` what is true of files alone, `architecture` the
//! shape of the code.

mod architecture;
mod audit;
mod bad_input;
mod cli;
mod contract;
mod embedded;
mod faults;
mod pipeline;
mod services;
