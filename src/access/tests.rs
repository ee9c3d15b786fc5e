//! Tokens, their file and hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::http::header::{HOST, ORIGIN};
use tempfile::TempDir;

use super::token::Tokens;
use super::*;

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

fn made(name: &str, scopes: &[Scope]) -> NewToken {
    NewToken::generate(name, scopes).unwrap()
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    write(&path, text);
    (folder, path)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn access(addr: ([u8; 4], u16), path: Option<&Path>, names: &str) -> Access {
    let tokens = path.map(|path| Arc::new(TokenFile::open(path).unwrap()));
    let names = match names {
        "" => Names::default(),
        names => Names::parse(names).unwrap(),
    };
    Access::new(addr.into(), tokens, Arc::new(names))
}

fn with(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

#[test]
fn a_token_allows_its_scopes_and_no_others() {
    let (shop, ops) = (
        made("shop", &[Scope::OrdersWrite, Scope::OrdersRead]),
        made("ops", &[Scope::Operator]),
    );
    let text = format!("# tokens\n\n{}\n  {}\r\n", shop.line, ops.line);
    let (_folder, path) = file(&text);
    let access = access(LOOPBACK, Some(&path), "");
    let ask = |token: &str, scope| {
        let value = format!("Bearer {token}");
        access.authorize(&with(&[&value]), scope)
    };
    assert_eq!(ask(&shop.token, Scope::OrdersWrite), Ok(()));
    assert_eq!(ask(&shop.token, Scope::OrdersRead), Ok(()));
    let lacks = Err(Denial::Scope(Scope::Operator));
    assert_eq!(ask(&shop.token, Scope::Operator), lacks);
    assert_eq!(ask(&ops.token, Scope::Operator), Ok(()));
    let invalid = Err(Denial::InvalidToken);
    assert_eq!(ask(&shop.line, Scope::OrdersRead), invalid);
    assert_eq!(ask(&shop.token[1..], Scope::OrdersRead), invalid);
    let digest = shop.line.rsplit_once(' ').unwrap().1;
    assert_eq!(ask(digest, Scope::OrdersRead), invalid);
}

#[test]
fn one_bearer_token_is_asked_for_and_nothing_else_counts() {
    let shop = made("shop", &[Scope::OrdersRead]);
    let (_folder, path) = file(&shop.line);
    let access = access(LOOPBACK, Some(&path), "");
    let ask = |values: &[&str]| access.authorize(&with(values), Scope::OrdersRead);
    let value = format!("bearer {}", shop.token);
    assert_eq!(ask(&[&value]), Ok(()));
    assert_eq!(ask(&[]), Err(Denial::NoToken));
    let basic = format!("Basic {}", shop.token);
    let invalid = ["", "Bearer", "Bearer ", &basic, &shop.token];
    for value in invalid {
        assert_eq!(ask(&[value]), Err(Denial::InvalidToken), "{value}");
    }
    assert_eq!(ask(&[&value, &value]), Err(Denial::InvalidToken));
}

#[test]
fn a_malformed_token_file_is_told_by_its_line_which_is_never_repeated() {
    let good = made("a", &[Scope::OrdersRead]).line;
    let digest = good.rsplit_once(' ').unwrap().1;
    let cases = [
        ("s3cret".to_owned(), "line 2 is not"),
        (format!("s3cret operator {digest} x"), "line 2 is not"),
        (
            format!("s3/cret operator {digest}"),
            "line 2 begins with a name",
        ),
        (
            format!("s3cret operators {digest}"),
            "line 2 has another scope",
        ),
        (
            format!("s3cret operator, {digest}"),
            "line 2 has another scope",
        ),
        ("a operator s3cret".to_owned(), "line 2 does not end"),
        ("a operator sha256:s3cret".to_owned(), "line 2 does not end"),
        (
            format!("b operator {digest}"),
            "line 2 repeats the token of `a`",
        ),
    ];
    for (line, why) in cases {
        let refused = Tokens::parse(format!("{good}\n{line}").as_bytes()).unwrap_err();
        assert!(refused.starts_with(why), "{line}: {refused}");
        assert!(!refused.contains("s3"), "{refused}");
    }
    assert_eq!(Tokens::parse(b"# none\n").unwrap_err(), "it has no token");
    assert!(Tokens::parse(b"\xff").is_err());
    // Two tokens of one name: the old and the new one while clients change over.
    let next = made("a", &[Scope::OrdersRead]).line;
    assert_eq!(
        Tokens::parse(format!("{good}\n{next}").as_bytes())
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_token_file_that_others_can_write_or_that_is_no_file_is_refused() {
    let (folder, path) = file(&made("a", &[Scope::OrdersRead]).line);
    for (mode, is_usable) in [(0o600, true), (0o644, true), (0o660, false), (0o602, false)] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let opened = TokenFile::open(&path);
        assert_eq!(opened.is_ok(), is_usable, "{mode:o}");
        if let Err(error) = opened {
            assert!(
                error.to_string().contains(&format!("mode 0{mode:o}")),
                "{error}"
            );
        }
    }
    let refused = TokenFile::open(folder.path()).unwrap_err().to_string();
    assert!(refused.ends_with("it is not a regular file"), "{refused}");
    assert!(TokenFile::open(&folder.path().join("absent")).is_err());
}

#[test]
fn a_changed_token_file_counts_and_a_broken_one_leaves_the_last_good_one() {
    let (old, new) = (
        made("old", &[Scope::OrdersRead]),
        made("new", &[Scope::OrdersRead]),
    );
    let (_folder, path) = file(&old.line);
    let access = access(LOOPBACK, Some(&path), "");
    let tokens = access.tokens.clone().unwrap();
    let is_valid = |token: &NewToken| {
        let value = format!("Bearer {}", token.token);
        access
            .authorize(&with(&[&value]), Scope::OrdersRead)
            .is_ok()
    };
    assert!(is_valid(&old) && !is_valid(&new));

    for broken in ["", "half a li"] {
        write(&path, broken);
        tokens.read_again();
        assert!(is_valid(&old), "`{broken}` shut a client out");
        let said = tokens.error().unwrap();
        assert!(said.contains("remain valid"), "{said}");
    }
    fs::remove_file(&path).unwrap();
    tokens.read_again();
    assert!(is_valid(&old) && tokens.error().is_some());

    write(&path, &new.line);
    tokens.read_again();
    assert!(!is_valid(&old) && is_valid(&new));
    assert_eq!(tokens.error(), None);
}

#[test]
fn a_token_is_never_the_same_and_names_are_plain() {
    let (one, other) = (made("a", &[Scope::Operator]), made("a", &[Scope::Operator]));
    assert_ne!(one.token, other.token);
    assert!(is_token(&one.token) && !is_token("a b") && !is_token("") && !is_token("é"));
    assert!(is_name("shop-1.web_A") && !is_name("") && !is_name("a b") && !is_name("é"));
}

/// What the rules say of a request with these Host headers.
fn host(access: &Access, hosts: &[&str]) -> Result<(), HostError> {
    named(access, "/", Version::HTTP_11, hosts)
}

fn named(access: &Access, uri: &str, version: Version, hosts: &[&str]) -> Result<(), HostError> {
    let (uri, mut headers) = (uri.parse::<Uri>().unwrap(), HeaderMap::new());
    for host in hosts {
        headers.append(HOST, host.parse().unwrap());
    }
    access.host(version, &uri, &headers).map(drop)
}

#[test]
fn a_request_names_exactly_one_host() {
    let anywhere = access(([0, 0, 0, 0], 8080), None, "");
    assert_eq!(host(&anywhere, &["shop.example"]), Ok(()));
    assert_eq!(host(&anywhere, &[""]), Ok(()));
    assert_eq!(host(&anywhere, &[]), Err(HostError::Missing));
    assert_eq!(host(&anywhere, &["a", "a"]), Err(HostError::Several));
    for malformed in [
        "a b", "a/b", "u@a", "a:b", "a:1:2", "[::1", "[a]", "[::1]x", "a:70000",
    ] {
        assert_eq!(
            host(&anywhere, &[malformed]),
            Err(HostError::Malformed),
            "{malformed}"
        );
    }
    let old = |hosts: &[&str]| named(&anywhere, "/", Version::HTTP_10, hosts);
    assert_eq!((old(&[]), old(&["a"])), (Ok(()), Ok(())));
    assert_eq!(old(&["a", "b"]), Err(HostError::Several));
}

#[test]
fn a_name_bound_to_127_0_0_1_reads_nothing_on_loopback() {
    let local = access(LOOPBACK, None, "");
    for ours in [
        "localhost",
        "LOCALHOST:9",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:1",
        "[::1]",
    ] {
        assert_eq!(host(&local, &[ours]), Ok(()), "{ours}");
    }
    let others = [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "192.168.0.1",
        "",
    ];
    for other in others {
        assert_eq!(host(&local, &[other]), Err(HostError::NotOurs), "{other}");
    }
    // The target of a request to a proxy counts, not the header beside it.
    let absolute = "http://evil.example/api/order/a";
    let named = named(&local, absolute, Version::HTTP_11, &["localhost"]);
    assert_eq!(named, Err(HostError::NotOurs));

    let named_too = access(LOOPBACK, None, "shop.example, Other");
    assert_eq!(host(&named_too, &["SHOP.example:80"]), Ok(()));
    assert_eq!(host(&named_too, &["other"]), Ok(()));
    assert_eq!(host(&named_too, &["evil.example"]), Err(HostError::NotOurs));
    // No page has a token.
    let (_folder, path) = file(&made("a", &[Scope::OrdersRead]).line);
    let with_tokens = access(LOOPBACK, Some(&path), "");
    assert_eq!(host(&with_tokens, &["evil.example"]), Ok(()));
}

#[test]
fn a_page_of_another_site_is_not_our_own() {
    let is_own = |names: &str, host: &str, origins: &[&str]| {
        let (mut headers, uri) = (HeaderMap::new(), Uri::from_static("/orders"));
        headers.insert(HOST, host.parse().unwrap());
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        let access = access(([0, 0, 0, 0], 8080), None, names);
        let host = access.host(Version::HTTP_11, &uri, &headers).unwrap();
        access.is_own_origin(&headers, &host)
    };
    let ours = "localhost:8080";
    assert!(is_own("", ours, &[]));
    assert!(is_own("", ours, &["http://localhost:8080"]));
    assert!(is_own("", "shop.example", &["https://shop.example"]));
    assert!(is_own("shop.example", ours, &["https://shop.example"]));
    let others = [
        "null",
        "http://evil.example",
        "http://localhost:3000",
        "file://",
        "localhost:8080",
    ];
    for other in others {
        assert!(!is_own("", ours, &[other]), "{other}");
        assert!(
            !is_own("", ours, &["http://localhost:8080", other]),
            "{other}"
        );
    }
}

#[test]
fn names_are_hosts_without_ports() {
    for malformed in ["", "a,", "a:1", "http://a", "a b"] {
        assert!(Names::parse(malformed).is_none(), "{malformed}");
    }
}
