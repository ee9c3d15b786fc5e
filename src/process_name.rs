//! How this process is named to others: in positions, and to the brokers of Kafka.

/// `host:pid`.
pub fn host_and_pid() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("{host}:{}", std::process::id())
}

/// The `client.id` of a Kafka client: `orders-ROLE@HOST:PID`.
pub fn client_id(role: &str) -> String {
    format!("orders-{role}@{}", host_and_pid())
}
