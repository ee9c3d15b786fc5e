//! Clients that announce or send large bodies: others are served, and the operators see it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use support::http::{self, Connection};
use support::orders::order;
use support::{Env, Process, TIMEOUT, wait_until};
use tokio::net::TcpSocket;

/// The largest body that the API accepts.
const LARGEST: usize = 512 << 10;

const TAKEN: &str = "orders_http_body_budget_taken_bytes";

fn head() -> String {
    format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {LARGEST}\r\n\r\n"
    )
}

/// Connects from another address of this machine.
fn connect_from(source: Ipv4Addr, api: &Process) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let address: SocketAddr = api.authority().parse().expect("an address");
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        socket.connect(address).await?.into_std()
    });
    let stream = connected.expect("the port is open");
    stream.set_nonblocking(false).expect("a socket can be told");
    stream
}

/// Posts large orders, one after the other; each must be accepted.
fn accepts_large_orders(api: &Process, prefix: &str) {
    for number in 0..16 {
        let mut body = order(&format!("{prefix}-{number}"))
            .to_string()
            .into_bytes();
        body.resize(LARGEST - 1, b' ');
        http::post(&format!("{}/orders", api.url()), body).expect_status(202);
    }
}

#[test]
fn bodies_that_are_announced_and_do_not_arrive_refuse_nobody() {
    let env = Env::ready();
    let api = env.api();
    let slow: Vec<Connection> = (0..96)
        .map(|_| {
            let mut connection = Connection::open(&api.url()).expect("the port is open");
            let sent = connection.send(format!("{}{{", head()).as_bytes());
            sent.expect("the kernel accepts a few bytes");
            connection
        })
        .collect();
    // All of them are being read, and take 4 KiB each.
    api.wait_for_metric(TAKEN, 96 << 12);
    accepts_large_orders(&api, "beside-slow");
    assert!(api.metric(TAKEN) <= 96 << 12);
    assert_eq!(api.metric("orders_http_bodies_refused_total"), 0);
    drop(slow);
    wait_until("the budget to be free", TIMEOUT, || api.metric(TAKEN) == 0);
}

#[test]
fn one_address_cannot_fill_the_body_budget_and_operators_see_who_is_refused() {
    let env = Env::ready();
    let api = env.api();
    super::wait_for_check(&api, "ok bodies: 0 of 64 MiB taken");
    // All but the last byte, so that what has arrived is kept.
    let begun = [head().as_bytes(), &[b' '; LARGEST - 1]].concat();
    let greedy: Vec<TcpStream> = (0..110)
        .map(|_| {
            let mut stream = connect_from(Ipv4Addr::new(127, 0, 0, 2), &api);
            stream.write_all(&begun).expect("the API reads");
            stream
        })
        .collect();
    super::wait_for_check(&api, "ok bodies: nearly full, 4");
    accepts_large_orders(&api, "from-another-address");
    assert!(api.metric(TAKEN) <= 48 << 20);
    api.wait_for_metric("orders_http_bodies_refused_total", 1);
    assert_eq!(api.readiness().0, 200);
    // A client of the address that takes most learns that the log does not have its order; the others
    // never send their last byte.
    let answers = greedy
        .into_iter()
        .map(|stream| http::receive(stream).expect("an answer"));
    let refused = answers.filter(|answer| answer.status != 408);
    let outcomes: Vec<_> = refused
        .map(|answer| answer.expect_status(503).json()["outcome"].take())
        .collect();
    assert!(
        !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome == "not_accepted"),
        "{outcomes:?}"
    );
    wait_until("the budget to be free", TIMEOUT, || api.metric(TAKEN) == 0);
    api.assert_bounded();
}
