//! `orders token`: a token, once, and the line that lets it in.

use support::process::orders;

#[test]
fn a_token_and_its_line_are_printed_and_nothing_else_on_stdout() {
    let ran = orders("token shop --scope orders:write --scope orders:read,orders:write");
    let ran = ran.run().succeeds();
    let lines: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [token, line] = lines.as_slice() else {
        panic!("two lines are expected: {}", ran.stdout);
    };
    let ["token", token] = token.as_slice() else {
        panic!("{token:?}");
    };
    assert_eq!(token.len(), "orders_".len() + 43, "{token}");
    let ["line", name, scopes, digest] = line.as_slice() else {
        panic!("{line:?}");
    };
    assert_eq!((*name, *scopes), ("shop", "orders:write,orders:read"));
    let digits = digest.strip_prefix("sha256:").expect("the digest");
    assert_eq!(digits.len(), 64, "{digest}");
    let stderr =
        "the token is shown this once; add the line to the file that AUTH_TOKENS_FILE names\n";
    assert_eq!(ran.stderr, stderr);

    let quiet = orders("token shop --scope operator --quiet")
        .run()
        .succeeds();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_token_needs_a_plain_name_and_a_known_scope() {
    for arguments in [
        "token shop",
        "token --scope operator",
        "token shop --scope orders",
        "token sh/op --scope operator",
    ] {
        let refused = orders(arguments).run().exits(2);
        assert_eq!(refused.stdout, "", "{arguments}");
    }
}
