//! Who gets in: tokens with scopes, addresses that other machines reach, hosts and origins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use support::http::{self, Response};
use support::orders::order;
use support::{Env, Orders, Process, TIMEOUT, eventually};

/// A token made by the program, and its line.
fn make(env: &Env, name: &str, scopes: &str) -> (String, String) {
    let args = ["token", name, "--scope", scopes, "--output", "json"];
    let made = env.orders(&args).run().succeeds().json();
    let text = |key: &str| made[key].as_str().expect("it is a text").to_owned();
    (text("token"), text("line"))
}

fn write(path: &PathBuf, lines: &[&str]) {
    // Written beside it and renamed, as an editor does.
    let new = path.with_extension("new");
    fs::write(&new, lines.join("\n")).expect("the folder is writable");
    fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).expect("it is ours");
    fs::rename(&new, path).expect("it can be replaced");
}

/// The pipeline in one process, with tokens.
struct Guarded {
    env: Env,
    up: Process,
    file: PathBuf,
    /// Tokens that write, read, and operate.
    tokens: [(String, String); 3],
}

impl Guarded {
    fn start() -> Guarded {
        let env = Env::embedded();
        let file = env.path().join("tokens");
        let scopes = ["orders:write", "orders:read", "operator"];
        let tokens = scopes.map(|scope| make(&env, "test", scope));
        write(&file, &[&tokens[0].1, &tokens[1].1, &tokens[2].1]);
        let up = env.orders(&["up"]).env("AUTH_TOKENS_FILE", &file).start();
        Guarded {
            env,
            up,
            file,
            tokens,
        }
    }

    fn get(&self, url: String, token: Option<&str>) -> Response {
        ask("GET", &url, token, b"")
    }

    fn post(&self, uid: &str, token: Option<&str>) -> Response {
        let url = format!("{}/orders", self.up.url());
        ask("POST", &url, token, order(uid).to_string().as_bytes())
    }
}

fn ask(method: &str, url: &str, token: Option<&str>, body: &[u8]) -> Response {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(token.map(|_| ("Authorization", bearer.as_str())));
    http::request(method, url, &headers, body).expect("it answers")
}

#[test]
fn nobody_reads_or_posts_orders_without_a_token_of_that_scope() {
    let guarded = Guarded::start();
    let [write, read, operator] = guarded.tokens.each_ref().map(|(token, _)| token.as_str());
    let order_url = || format!("{}/api/order/mine", guarded.up.url());
    for refused in [guarded.post("a", None), guarded.post("a", Some("guess"))] {
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert_eq!(refused.json()["type"], "unauthorized");
        let challenge = refused.header("www-authenticate").expect("it says how");
        assert!(
            challenge.starts_with("Bearer realm=\"orders\""),
            "{challenge}"
        );
    }
    let refused = guarded.post("a", Some(read));
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (403, &"forbidden".into())
    );
    assert_eq!(guarded.post("mine", Some(write)).status, 202);

    assert_eq!(guarded.get(order_url(), None).status, 401);
    assert_eq!(guarded.get(order_url(), Some(write)).status, 403);
    assert_eq!(guarded.get(order_url(), Some(operator)).status, 403);
    let got = guarded.get(order_url(), Some(read));
    assert_eq!((got.status, got.json()), (200, order("mine")));

    // What holds no data stays open.
    for path in ["/", "/page.js", "/healthz", "/openapi.json"] {
        let url = format!("{}{path}", guarded.up.url());
        assert_eq!(guarded.get(url, None).status, 200, "{path}");
    }
    guarded.env.wait_until_applied();
    assert_eq!(
        guarded
            .env
            .log()
            .ends(&guarded.env.topic())
            .iter()
            .sum::<i64>(),
        1
    );

    let admin = |path: &str, token| guarded.get(guarded.up.admin_url() + path, token);
    for path in ["/livez", "/readyz"] {
        assert_eq!(admin(path, None).text(), "ok\n", "{path}");
    }
    for path in ["/readyz?verbose", "/metrics"] {
        assert_eq!(admin(path, None).status, 401, "{path}");
        assert_eq!(admin(path, Some(read)).status, 403, "{path}");
        assert_eq!(admin(path, Some(operator)).status, 200, "{path}");
    }
}

#[test]
fn a_large_order_without_a_token_gets_its_401_and_not_a_reset() {
    let guarded = Guarded::start();
    let mut large = order("large");
    large["items"] = vec![large["items"][0].clone(); 1_000].into();
    let url = format!("{}/orders", guarded.up.url());
    for _ in 0..5 {
        let refused = ask("POST", &url, None, large.to_string().as_bytes());
        assert_eq!(refused.status, 401, "{}", refused.text());
    }
}

#[test]
fn a_token_taken_out_of_the_file_is_refused_without_a_restart() {
    let guarded = Guarded::start();
    let [(writing, line), _, (operator, operators)] = &guarded.tokens;
    assert_eq!(guarded.post("before", Some(writing)).status, 202);

    // A file that is malformed, or gone, shuts nobody out.
    write(&guarded.file, &[line, "s3cret operator"]);
    let said = guarded
        .up
        .wait_for_line("the tokens that were read before remain valid");
    assert!(
        said.contains("line 2 is not") && !said.contains("s3cret"),
        "{said}"
    );
    assert_eq!(guarded.post("malformed", Some(writing)).status, 202);
    let readyz = guarded.up.admin_url() + "/readyz?verbose";
    let checks = guarded.get(readyz, Some(operator));
    assert_eq!(checks.status, 200);
    assert!(
        checks.text().contains("ok tokens: the token file"),
        "{}",
        checks.text()
    );

    let (new, new_line) = make(&guarded.env, "new", "orders:write");
    write(&guarded.file, &[&new_line, operators]);
    eventually("the new token to be valid", TIMEOUT, || {
        (guarded.post("new", Some(&new)).status == 202).then_some(())
    });
    assert_eq!(guarded.post("after", Some(writing)).status, 401);
}

#[test]
fn an_address_that_other_machines_reach_is_refused_without_tokens() {
    let env = Env::embedded();
    for (command, variable) in [
        ("up", "HTTP_ADDR"),
        ("up", "ADMIN_ADDR"),
        ("serve-api", "HTTP_ADDR"),
        ("consume", "ADMIN_ADDR"),
    ] {
        let ran = env.orders(&[command]).env(variable, ":0").run().exits(2);
        let said = format!(
            "error: `{variable}` is `0.0.0.0:0`, which other machines can reach, and no token is \
             required\nhint: make a token with `orders token NAME"
        );
        assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
    }
    assert!(!env.data_dir().exists(), "nothing was begun");

    let word = env.orders(&["up"]).env("HTTP_ADDR", ":0");
    let up = word.env("ALLOW_UNAUTHENTICATED", "true").start();
    up.wait_for_line("let only the proxy that authenticates connect");
    let port = up.url().rsplit_once(':').expect("a port").1.to_owned();
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(http::get(&format!("{url}/healthz")).status, 200);
    // A proxy may call it by any name.
    let named = b"GET /api/order/a HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let answer = http::raw(&url, named).expect("it answers");
    assert_eq!(answer.status, 404);
}

#[test]
fn a_token_file_that_cannot_be_used_is_an_error_that_says_why() {
    let env = Env::embedded();
    let file = env.path().join("tokens");
    let start = || {
        let ran = env.orders(&["up"]).env("AUTH_TOKENS_FILE", &file);
        ran.run().exits(2).stderr
    };
    assert!(start().contains("No such file or directory"), "{}", start());
    let (_, line) = make(&env, "a", "operator");
    write(&file, &[&line, "a-token"]);
    assert!(
        start().contains("line 2 is not `NAME SCOPES"),
        "{}",
        start()
    );
    write(&file, &[&line]);
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).expect("it is ours");
    let said = start();
    assert!(said.contains("others can write it (mode 0666)"), "{said}");
    assert!(said.contains("hint: chmod go-w"), "{said}");
}

#[test]
fn send_get_and_the_demo_use_the_token_of_their_variables() {
    let mut guarded = Guarded::start();
    let (url, path) = (guarded.up.url(), guarded.env.path().join("token"));
    let (both, line) = make(&guarded.env, "both", "orders:write,orders:read");
    let lines = [line.as_str(), &guarded.tokens[0].1];
    write(&guarded.file, &lines);
    guarded.up.wait_for_line("which has changed");
    fs::write(
        guarded.env.path().join("one.json"),
        order("one").to_string(),
    )
    .expect("writable");
    fs::write(&path, format!("{both}\n")).expect("the folder is writable");
    let run =
        |args: &[&str]| -> Orders<'_> { guarded.env.orders(args).env("ORDERS_API_URL", &url) };
    let (send, get) = (["send", "one.json"], ["get", "one", "--output", "json"]);

    for args in [&send[..], &get] {
        let ran = run(args).run().exits(2);
        assert!(
            ran.stderr.contains("refused the request (401)"),
            "{}",
            ran.stderr
        );
        let hint = "hint: set ORDERS_TOKEN or ORDERS_TOKEN_FILE";
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    run(&send).env("ORDERS_TOKEN", &both).run().succeeds();
    let got = run(&get).env("ORDERS_TOKEN_FILE", &path).run().succeeds();
    assert_eq!(got.json(), order("one"));
    let writes = run(&get)
        .env("ORDERS_TOKEN", &guarded.tokens[0].0)
        .run()
        .exits(2);
    assert!(
        writes.stderr.contains("lacks the scope `orders:read`"),
        "{}",
        writes.stderr
    );
    let two_words = run(&get).env("ORDERS_TOKEN", "s3 cret").run().exits(2);
    assert!(!two_words.stderr.contains("s3"), "{}", two_words.stderr);

    assert_eq!(guarded.up.stop().code(), Some(0));
    let demo = || {
        let demo = guarded.env.orders(&["up", "--demo"]);
        demo.env("AUTH_TOKENS_FILE", &guarded.file)
    };
    let refused = demo().run().exits(2);
    assert!(
        refused.stderr.contains("hint: set ORDERS_TOKEN"),
        "{}",
        refused.stderr
    );
    let shown = demo().env("ORDERS_TOKEN", &both).start();
    shown.wait_for_line("Everything runs until Ctrl-C");
}

#[test]
fn a_page_that_binds_its_name_to_this_machine_reads_and_posts_nothing() {
    let env = Env::embedded();
    let up = env
        .orders(&["up"])
        .env("ALLOWED_HOSTS", "shop.example")
        .start();
    assert_eq!(up.post_order("a").status, 202);
    let send = |url: String, line: &str, headers: &str| {
        let request = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        http::raw(&url, request.as_bytes()).expect("it answers")
    };
    let get = |headers: &str| send(up.url(), "GET /api/order/a", headers).status;
    assert_eq!(get("Host: localhost\r\n"), 200);
    assert_eq!(get("Host: shop.example\r\n"), 200);
    assert_eq!(get("Host: evil.example\r\n"), 421);
    assert_eq!(get(""), 400);
    assert_eq!(get("Host: localhost\r\nHost: evil.example\r\n"), 400);
    let absolute = "GET http://evil.example/api/order/a";
    assert_eq!(send(up.url(), absolute, "Host: localhost\r\n").status, 421);
    for path in ["/livez", "/readyz", "/metrics"] {
        let line = format!("GET {path}");
        let named = |name: &str| send(up.admin_url(), &line, name).status;
        assert_eq!(named("Host: 127.0.0.1\r\n"), 200, "{path}");
        assert_eq!(named("Host: evil.example\r\n"), 421, "{path}");
        assert_eq!(named(""), 400, "{path}");
    }

    let body = order("b").to_string();
    let post = |origin: &str| {
        let url = format!("{}/orders", up.url());
        let headers = [("Content-Type", "application/json"), ("Origin", origin)];
        http::request("POST", &url, &headers, body.as_bytes()).expect("it answers")
    };
    for foreign in ["http://evil.example", "null", "http://localhost:1"] {
        let refused = post(foreign);
        assert_eq!(refused.json()["type"], "foreign-origin", "{foreign}");
        assert_eq!(refused.status, 403);
    }
    assert_eq!(up.get_order("b").status, 404);
    assert_eq!(post("https://shop.example").status, 202);
    assert_eq!(post(&up.url()).status, 202);
}
