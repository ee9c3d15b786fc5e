//! What the operators' port says, and that it is built anew when nobody listens any more.

use super::*;

struct Fixed(bool);

impl Health for Fixed {
    fn live(&self) -> Result<(), String> {
        if self.0 { Ok(()) } else { Err("stuck".into()) }
    }

    fn ready(&self) -> Vec<Check> {
        let check = |name: &str, ok| Check {
            name: name.into(),
            ok,
            detail: "as it is".into(),
        };
        vec![check("log", self.0), check("warm-up", true)]
    }

    fn metrics(&self) -> String {
        "# EOF\n".into()
    }
}

fn shown(url: &str, health: bool) -> (u16, String) {
    let (status, _, body) = page(url, &Fixed(health));
    (status, body)
}

#[test]
fn readiness_names_what_is_missing_and_verbosely_everything() {
    assert_eq!(shown("/readyz", true), (200, "ok\n".into()));
    assert_eq!(
        shown("/readyz", false),
        (503, "FAIL log: as it is\n".into())
    );
    let all = "FAIL log: as it is\nok warm-up: as it is\n";
    assert_eq!(shown("/readyz?verbose", false), (503, all.into()));
    assert_eq!(shown("/readyz?a=b&verbose=1", false), (503, all.into()));
}

#[test]
fn a_stuck_service_is_not_live() {
    assert_eq!(shown("/livez", true), (200, "ok\n".into()));
    assert_eq!(shown("/livez", false), (503, "FAIL stuck\n".into()));
    assert_eq!(shown("/nothing", true).0, 404);
}

#[test]
fn the_public_side_leaves_descriptors_to_the_others() {
    let shares = [64, 128, 1_024, 1_048_576].map(public_share);
    assert_eq!(shares, [32, 64, 768, 1_048_320]);
}

#[test]
fn the_port_answers_and_is_built_anew_when_it_is_closed() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin = Admin::start(local, Arc::new(Fixed(true))).unwrap();
    probe(admin.addr()).unwrap();
    // As after a panic of the accept thread: nobody listens, and nobody says so.
    admin.state.use_server(None);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while probe(admin.addr()).is_ok() {
        assert!(
            std::time::Instant::now() < deadline,
            "the old server went on"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let health: Arc<dyn Health> = Arc::new(Fixed(true));
    rebuild(&health, &admin.state, &refused);
    probe(admin.addr()).unwrap();
}

/// What the port answers to these bytes.
fn said(admin: &Admin, bytes: &str) -> String {
    let mut stream = TcpStream::connect(admin.addr()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_announced_body_neither_aborts_the_process_nor_holds_the_port() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin = Admin::start(local, Arc::new(Fixed(true))).unwrap();
    for announcing in [
        "Content-Length: 1000000000000",
        "Transfer-Encoding: chunked",
    ] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{announcing}\r\n\r\n");
        let answer = said(&admin, &request);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let large = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9_000));
    assert!(said(&admin, &large).starts_with("HTTP/1.1 431 "));
    let alive = said(&admin, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        alive.starts_with("HTTP/1.0 200 ") && alive.ends_with("\r\n\r\nok\n"),
        "{alive}"
    );
}

#[test]
fn sixteen_clients_that_say_nothing_hold_the_port_for_two_seconds_at_most() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin = Admin::start(local, Arc::new(Fixed(true))).unwrap();
    let silent = || TcpStream::connect(admin.addr()).unwrap();
    let _silent: Vec<TcpStream> = (0..16).map(|_| silent()).collect();
    let alive = said(&admin, "HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        alive.starts_with("HTTP/1.0 200 ") && alive.ends_with("\r\n\r\n"),
        "{alive}"
    );
}
