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
    rebuild(admin.addr(), &health, &admin.state, &refused);
    probe(admin.addr()).unwrap();
}
