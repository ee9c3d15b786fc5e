//! Files are for their user alone, whatever the umask of the shell is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use support::{Env, Orders};

fn without_umask(command: Orders<'_>) -> Orders<'_> {
    command.wrapped_in(&["sh", "-c", r#"umask 0; exec "$@""#, "sh"])
}

/// Every entry of a folder, the folder itself and those below, with its mode.
fn modes(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    found.push((path.to_owned(), metadata.mode() & 0o7777));
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            modes(&entry.expect("it can be read").path(), found);
        }
    }
}

#[test]
fn no_other_user_may_read_or_write_what_the_program_creates_under_any_umask() {
    let env = Env::embedded();
    let up = without_umask(env.orders(&["up"])).start();
    up.accepts("a");
    up.post(r#"{"order_uid":"refused"}"#).expect_status(422);
    env.wait_until_applied();
    let export = [
        "export",
        "--to",
        "all.ndjson",
        "--dead-letters",
        "dead.ndjson",
    ];
    without_umask(env.orders(&export)).run().succeeds();

    let mut found = Vec::new();
    for name in ["orders", "all.ndjson", "dead.ndjson"] {
        modes(&env.path().join(name), &mut found);
    }
    modes(env.data_dir(), &mut found);
    let socket = format!("up-{}.sock", up.id());
    for name in [
        &socket,
        "api.lock",
        "consumer.lock",
        "store.db-wal",
        "t-orders.db",
        "id",
    ] {
        let is_found = found.iter().any(|(path, _)| path.ends_with(name));
        assert!(is_found, "no `{name}` in {found:?}");
    }
    found.retain(|(_, mode)| mode & 0o077 != 0);
    assert_eq!(found, []);
}
