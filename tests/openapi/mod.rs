//! /openapi.json against the running server: what it describes is what the server does.
//!
//! Every operation is provoked into every status that is described, and each answer is validated
//! against its schema. Documents on either side of every rule are posted: the server must accept those
//! that the schema allows, and no other.

mod schema;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use schema::Schemas;
use serde_json::{Value, json};
use support::disk::SmallDisk;
use support::http::{self, Connection, Response};
use support::orders::order;
use support::{Env, Process, TIMEOUT, eventually};

const ORDER: &str = "/api/order/{uid}";

fn description(api: &Process) -> Value {
    http::get(&format!("{}/openapi.json", api.url()))
        .expect_status(200)
        .json()
}

/// A request and its answer.
struct Answered {
    method: &'static str,
    path: &'static str,
    response: Response,
}

/// Every way to each status that is described.
fn provoke() -> Vec<Answered> {
    let post = |response| Answered {
        method: "post",
        path: "/orders",
        response,
    };
    let get = |path, response| Answered {
        method: "get",
        path,
        response,
    };
    let disk = SmallDisk::mount(32);
    let env = Env::embedded_in(&disk.path().join("data"));
    let up = env.up();
    let url = |path: &str| format!("{}{path}", up.url());
    let send = |kind: &str, body: &str| {
        let headers = [("Content-Type", kind)];
        let sent = http::request("POST", &url("/orders"), &headers, body.as_bytes());
        post(sent.expect("an answer"))
    };
    let json = "application/json";
    let valid = order("described").to_string();
    let mut answers = vec![
        slow_body(&up, post),
        send(json, &valid),
        send(json, "{"),
        send(json, &valid.replace("2021-11-26T06:22:19Z", "yesterday")),
        send(json, &" ".repeat((512 << 10) + 1)),
        send("text/plain", &valid),
        get(ORDER, up.get_order("described")),
        get(ORDER, up.get_order("unknown")),
        get(ORDER, up.get_order("%00")),
    ];
    let found = up.get_order("described");
    let tag = found.header("etag").expect("a tag");
    let tag = [("If-None-Match", tag), ("Connection", "close")];
    let unchanged = http::request("GET", &url("/api/order/described"), &tag, b"");
    answers.push(get(ORDER, unchanged.expect("an answer")));
    let cached = [("Cache-Control", "only-if-cached")];
    let not_cached = http::request("GET", &url("/api/order/not-cached"), &cached, b"");
    answers.push(get(ORDER, not_cached.expect("an answer")));
    for path in ["/", "/healthz", "/openapi.json"] {
        answers.push(get(path, http::get(&url(path))));
    }
    disk.fill_except(1 << 20);
    let full = eventually("the full disk to be reported", TIMEOUT, || {
        let answer = up.post_order("refused");
        (answer.status == 507).then_some(answer)
    });
    answers.push(post(full));

    answers.extend(refused_access(&up, post, get));
    let without_consumer = Env::embedded().prepared(1);
    let api = without_consumer.serve_api().env("LOOKUP_WAIT_MS", "500");
    answers.push(get(ORDER, api.start().get_order("queued")));
    let without_log = Env::embedded();
    let api = without_log.serve_api().env("KAFKA_BROKERS", "127.0.0.1:1");
    let api = api.spawn();
    answers.push(post(api.post_order("refused")));
    answers.push(get(ORDER, api.get_order("unknown")));
    answers
}

/// Requests to a host that is not ours, without a token, and with a token of another scope.
fn refused_access(
    api: &Process,
    post: impl Fn(Response) -> Answered,
    get: impl Fn(&'static str, Response) -> Answered,
) -> Vec<Answered> {
    let env = Env::embedded();
    let file = env.path().join("tokens");
    let make = [
        "token", "operator", "--scope", "operator", "--output", "json",
    ];
    let made = env.orders(&make).run().succeeds().json();
    let text = |key: &str| made[key].as_str().expect("it is a text");
    fs::write(&file, text("line")).expect("the folder is writable");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    let guarded = env.orders(&["up"]).env("AUTH_TOKENS_FILE", &file).start();
    let token = format!("Authorization: Bearer {}\r\n", text("token"));
    let mut answers = Vec::new();
    for (service, host, token) in [
        (api, "evil.example", ""),
        (&guarded, "localhost", ""),
        (&guarded, "localhost", &token),
    ] {
        let rest = format!("HTTP/1.1\r\nHost: {host}\r\n{token}");
        let ask = |line: &str, headers: &str| {
            let request = format!("{line} {rest}{headers}\r\n");
            let answer = http::raw(&service.url(), request.as_bytes());
            answer.expect("an answer")
        };
        let headers = "Content-Type: application/json\r\nContent-Length: 0\r\n";
        answers.push(post(ask("POST /orders", headers)));
        answers.push(get(ORDER, ask("GET /api/order/a", "")));
    }
    answers
}

/// The answer to a body that does not arrive.
fn slow_body(api: &Process, post: impl Fn(Response) -> Answered) -> Answered {
    let mut connection = Connection::open(&api.url()).expect("the port is open");
    let head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 1000\r\n\r\n{";
    connection.send(head.as_bytes()).expect("the API reads");
    post(connection.receive().expect("an answer"))
}

/// What `answered` has that is not described.
fn undescribed(description: &Value, answered: &Answered) -> Vec<String> {
    let Answered {
        method,
        path,
        response,
    } = answered;
    let schemas = Schemas(description);
    let status = response.status.to_string();
    let described = &description["paths"][path][method]["responses"][&status];
    let described = schemas.resolve(described);
    if described.is_null() {
        return vec![format!("it is not described: {}", response.text())];
    }
    let mut faults = Vec::new();
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        if header["required"] == true && response.header(name).is_none() {
            faults.push(format!("there is no header {name}"));
        }
    }
    let kind = response.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    match (&described["content"], response.body.is_empty()) {
        (Value::Null, true) => {}
        (Value::Null, false) => faults.push(format!("there is a body: {}", response.text())),
        (contents, _) => match &contents[kind]["schema"] {
            Value::Null => faults.push(format!("its type {kind} is not described")),
            schema if kind.ends_with("json") => {
                faults.extend(schemas.faults(schema, &response.json()));
            }
            _ => {}
        },
    }
    if kind == "application/problem+json" && response.json()["status"] != response.status {
        faults.push("the body says another status".into());
    }
    faults
}

#[test]
fn every_operation_answers_in_every_status_as_the_description_says() {
    let env = Env::embedded();
    let description = description(&env.up());
    let answers = provoke();
    let mut faults = Vec::new();
    for answered in &answers {
        let (method, path, status) = (answered.method, answered.path, answered.response.status);
        for fault in undescribed(&description, answered) {
            faults.push(format!("{method} {path} {status}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");

    let key = |method: &str, path: &str, status: &str| format!("{method} {path} {status}");
    let provoked: BTreeSet<String> = answers
        .iter()
        .map(|it| key(it.method, it.path, &it.response.status.to_string()))
        .collect();
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let statuses = operation["responses"].as_object().expect("responses");
            described.extend(statuses.keys().map(|status| key(method, path, status)));
        }
    }
    assert_eq!(provoked, described);
}

/// A client that trusts the description sends what is accepted, null fields too, and is refused nothing
/// that it allows.
#[test]
fn the_server_accepts_the_orders_that_the_description_allows_and_no_other() {
    let env = Env::embedded();
    let up = env.up();
    let description = description(&up);
    let schemas = Schemas(&description);
    let schema = &description["components"]["schemas"]["Order"];
    let stored = &description["components"]["schemas"]["StoredOrder"];
    let mut connection = Connection::open(&up.url()).expect("the port is open");
    let mut faults = Vec::new();
    let mut verdicts = [0, 0];
    for (case, document) in documents() {
        let body = document.to_string();
        let answer = connection.post("/orders", body.as_bytes());
        let answer = answer.expect("an answer");
        let is_allowed = schemas.is_valid(schema, &document);
        verdicts[usize::from(is_allowed)] += 1;
        let expected = if is_allowed { 202 } else { 422 };
        if answer.status != expected {
            let (status, text) = (answer.status, answer.text());
            faults.push(format!("{case}: {status} and not {expected}: {text}"));
        } else if is_allowed {
            let location = answer.header("location").expect("a location");
            let found = connection.get(&format!("/{location}")).expect("an answer");
            let broken = schemas.faults(stored, &found.expect_status(200).json());
            faults.extend(
                broken
                    .iter()
                    .map(|fault| format!("{case}: served with {fault}")),
            );
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(verdicts[0] > 100 && verdicts[1] > 50, "{verdicts:?}");
}

/// Orders in which one thing is unusual: each field absent, null, of every type, at its bounds.
fn documents() -> Vec<(String, Value)> {
    let usual = order("usual");
    let mut documents: Vec<(String, Value)> = uids()
        .into_iter()
        .map(|uid| (format!("the uid {uid:?}"), order(&uid)))
        .collect();
    for pointer in pointers(&usual) {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let mut without = usual.clone();
        if let Some(Value::Object(members)) = without.pointer_mut(parent) {
            members.remove(name);
            documents.push((format!("{pointer} is absent"), without));
        }
        for value in values() {
            let mut changed = usual.clone();
            *changed.pointer_mut(&pointer).expect("it is a field") = value.clone();
            let shown: String = value.to_string().chars().take(40).collect();
            documents.push((format!("{pointer} is {shown}"), changed));
        }
    }
    for count in [0, 1_000, 1_001] {
        let mut changed = usual.clone();
        changed["items"] = vec![json!({}); count].into();
        documents.push((format!("{count} items"), changed));
    }
    let mut unknown = usual;
    unknown["unknown"] = json!({"a": [null]});
    documents.push(("an unknown field".into(), unknown));
    documents
}

/// The pointer of every field of the document, in its objects and first items too.
fn pointers(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(pointer) = open.pop() {
        let inner: Vec<String> = match document.pointer(&pointer) {
            Some(Value::Object(members)) => members.keys().cloned().collect(),
            Some(Value::Array(_)) => vec!["0".into()],
            _ => Vec::new(),
        };
        open.extend(inner.iter().map(|name| format!("{pointer}/{name}")));
        if !pointer.is_empty() {
            found.push(pointer);
        }
    }
    found
}

fn values() -> Vec<Value> {
    let integers = [i32::MIN.into(), i32::MAX.into(), i64::MIN, i64::MAX];
    let mut values: Vec<Value> = integers.map(Value::from).into();
    values.extend([
        Value::Null,
        json!(i64::from(i32::MIN) - 1),
        json!(i64::from(i32::MAX) + 1),
        json!(u64::MAX),
        json!(1.5),
        json!(true),
        json!([]),
        json!([null]),
        json!([1]),
        json!({}),
        json!(""),
        json!("text"),
        json!("2021-11-26T06:22:19.5+03:00"),
        json!("2021-11-26T06:22:19"),
        json!("x".repeat(4_096)),
        json!("x".repeat(4_097)),
    ]);
    values
}

fn uids() -> Vec<String> {
    let texts = [
        "",
        ".",
        "..",
        "...",
        ".a",
        "a.",
        "-",
        "_",
        ":",
        "a:b",
        "A-Z_0.9",
        "a b",
        "a/b",
        "a%2Fb",
        "a\n",
        "\u{e4}",
        "a\u{0}",
        "a\u{200b}",
    ];
    let mut uids: Vec<String> = texts.map(str::to_owned).into();
    uids.extend(["a".repeat(128), "a".repeat(129)]);
    uids
}

#[test]
fn a_row_that_another_program_wrote_is_served_as_described() {
    let env = Env::embedded();
    let up = env.up();
    let description = description(&up);
    let schema = &description["components"]["schemas"]["StoredOrder"];
    env.db().run(
        "INSERT INTO orders (order_uid) VALUES ('not a uid / of ours');
         INSERT INTO items (order_uid) VALUES ('not a uid / of ours');",
    );
    let found = up
        .get_order("not%20a%20uid%20%2F%20of%20ours")
        .expect_status(200);
    let faults = Schemas(&description).faults(schema, &found.json());
    assert!(faults.is_empty(), "{faults:#?}");
}
