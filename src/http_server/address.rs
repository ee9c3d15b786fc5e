//! Addresses that a port listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::exit::{Exit, Failure};

/// Binds `addr` for a runtime (non-blocking). A port in use is an error that names the flag and the
/// variable.
pub fn bind(addr: SocketAddr, flag: &str, variable: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(addr).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let message = format!("listening on `{addr}` (`{flag}`): {error}");
        let hint =
            format!("choose another address with {flag} or {variable}; port 0 picks a free one");
        Failure::new(Exit::Failed, message).hint(hint).into()
    })
}

/// Where this machine reaches a listener, which may listen on every interface.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
