//! The pipeline under load, and the checks after each fault.

use std::time::{Duration, Instant};

use support::audit::{AnswerLog, audit_all};
use support::kafka::malformed_records;
use support::load_client::{LoadClients, Workload};
use support::private::{PrivateKafka, PrivatePostgres, free_address};
use support::proxy::Proxy;
use support::{Env, Process, wait_until};

/// From the end of a fault until everything works again.
const RECOVERY: Duration = Duration::from_secs(30);

const PARTITIONS: i32 = 4;
const CLIENTS: u32 = 4;

/// The pause of each client between two orders.
const PACE: Duration = Duration::from_millis(25);

// Fields end in this order: services before the servers they use.
pub struct Pipeline {
    clients: LoadClients,
    pub api: Process,
    pub consumers: [Process; 2],
    authority: String,
    /// Records that are no orders, written by another program.
    malformed: i64,
    pub env: Env,
    pub api_to_kafka: Proxy,
    pub consumers_to_kafka: Proxy,
    pub consumers_to_database: Proxy,
    database_url: String,
    pub kafka: PrivateKafka,
    pub postgres: PrivatePostgres,
}

impl Pipeline {
    pub fn start() -> Pipeline {
        let (kafka, [api_to_kafka, consumers_to_kafka]) = PrivateKafka::behind_proxies("");
        let postgres = PrivatePostgres::start();
        let env = Env::on(&kafka.brokers(), &postgres.url()).prepared(PARTITIONS);
        let (consumers_to_database, database_url) = Proxy::before_database(&env.db_url);
        let authority = free_address();
        let api = serve(&env, &authority, &api_to_kafka);
        let consumer = || consume(&env, &consumers_to_kafka, &database_url);
        let consumers = [consumer(), consumer()];
        api.wait_ready();
        consumers.iter().for_each(Process::wait_ready);
        let clients = Workload::new(&authority)
            .invalid_every(50)
            .with_reads(PACE)
            .start(&env, CLIENTS);
        Pipeline {
            clients,
            api,
            consumers,
            authority,
            malformed: 0,
            env,
            api_to_kafka,
            consumers_to_kafka,
            consumers_to_database,
            database_url,
            kafka,
            postgres,
        }
    }

    /// Starts the API again at its address.
    pub fn serve(&mut self) {
        self.api = serve(&self.env, &self.authority, &self.api_to_kafka);
    }

    /// Starts one of the two consumers again.
    pub fn consume(&mut self, which: usize) {
        self.consumers[which] = self.another_consumer();
    }

    pub fn another_consumer(&self) -> Process {
        consume(&self.env, &self.consumers_to_kafka, &self.database_url)
    }

    /// Waits until everything works again, at most `RECOVERY` after the end of the fault: every client is
    /// accepted, what the log had is stored, both kinds of service are ready.
    pub fn wait_until_recovered(&mut self, fault_ended: Instant) {
        let left = || RECOVERY.saturating_sub(fault_ended.elapsed());
        let ends = self.env.kafka().ends(&self.env.topic());
        self.clients.wait_for_more_of_each(1, left());
        let mut db = self.env.db();
        wait_until("earlier records to be stored", left(), || {
            db.has_applied(&ends)
        });
        for service in self.consumers.iter().chain([&self.api]) {
            service.wait_ready_within(left());
        }
    }

    /// Checks every promise while the clients are suspended; returns the number of accepted orders.
    pub fn check(&mut self) -> usize {
        self.write_malformed_records();
        let orders = self.check_suspended();
        self.clients.resume();
        orders
    }

    /// The final check; the clients stay suspended.
    pub fn check_suspended(&mut self) -> usize {
        self.clients.suspend(RECOVERY);
        let answers = self.clients.answers();
        self.audit(&answers)
    }

    fn audit(&mut self, answers: &AnswerLog) -> usize {
        audit_all(&self.env, answers, &self.api);
        let mut db = self.env.db();
        assert_eq!(db.count("dead_letters"), self.malformed, "dead letters");
        assert_eq!(db.text("SELECT * FROM log_gaps"), "");
        for service in self.consumers.iter_mut().chain([&mut self.api]) {
            service.assert_bounded();
        }
        answers.accepted().len()
    }

    fn write_malformed_records(&mut self) {
        let written = self.env.produce(&malformed_records(PARTITIONS));
        self.malformed += written.len() as i64;
    }
}

fn serve(env: &Env, authority: &str, proxy: &Proxy) -> Process {
    env.serve_api()
        .http_addr(authority)
        .env("KAFKA_BROKERS", proxy.address().to_string())
        .spawn()
}

fn consume(env: &Env, proxy: &Proxy, database_url: &str) -> Process {
    env.consume()
        .env("KAFKA_BROKERS", proxy.address().to_string())
        .env("DB_URL", database_url)
        .spawn()
}
