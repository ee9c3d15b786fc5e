//! The data folder: its path and its permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use support::private::free_port;
use support::{Env, Orders, TIMEOUT, eventually};

use super::{audit_all, start_clients};

/// The user `nobody`.
const USER: u32 = 65_534;

/// Has a command run as a user whom permissions bind.
fn as_user(command: Orders<'_>) -> Orders<'_> {
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    command.wrapped_in(&["setpriv", &user, &group, "--clear-groups"])
}

/// Gives everything below to that user.
fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("the tests run as root");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            give(&entry.expect("it can be read").path());
        }
    }
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_data_folder_may_have_spaces_quotes_and_any_letters_in_its_name() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    for name in ["my orders/заказы №1 ☂", "100% o'clock?mode=ro#\"x\"&a=b"] {
        let env = Env::embedded_in(&dir.path().join(name));
        let port = format!("127.0.0.1:{}", free_port());
        let up = env.orders(&["up"]).env("HTTP_ADDR", &port).start();
        let clients = start_clients(&env, &port);
        clients.wait_for_more(20);
        audit_all(&env, clients, &up.url());
    }
}

#[test]
fn a_data_folder_that_cannot_be_created_is_reported_with_a_hint() {
    let env = Env::embedded();
    fs::write(env.data_dir(), "a file").expect("the folder is writable");
    let mut said = vec![("up", env.orders(&["up"]).run().exits(1))];
    said.push(("serve-api", env.serve_api().run().exits(1)));
    said.push(("consume", env.consume().run().exits(1)));
    let below = env.path().join("closed");
    fs::create_dir(&below).expect("the folder is writable");
    permit(env.path(), 0o755);
    permit(&below, 0o755);
    let up = env
        .orders(&["up"])
        .env("ORDERS_DATA_DIR", below.join("data"));
    said.push(("up", as_user(up).run().exits(1)));
    for (command, refused) in said {
        let text = refused.stderr;
        assert!(
            text.contains("data") && text.contains("--data-dir"),
            "{command}: {text}"
        );
    }
}

#[test]
fn unwritable_files_and_folders_are_reported_and_work_begins_when_they_are_writable() {
    let env = Env::embedded();
    permit(env.path(), 0o777);
    let mut up = as_user(env.orders(&["up"])).start();
    assert_eq!(up.post_order("before").status, 202);
    env.wait_until_applied();
    up.stop();
    give(env.data_dir());
    let folder = env.data_dir().to_owned();
    for (path, closed, open) in [
        (env.log_file(), 0o444, 0o600),
        (env.store_file(), 0o444, 0o600),
        (folder, 0o555, 0o700),
    ] {
        permit(&path, closed);
        let mut up = as_user(env.orders(&["up"])).spawn();
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let said = up.wait_for_line("writable");
        assert!(said.contains(&*name), "{said}");
        if path == env.log_file() {
            assert_eq!(up.post_order("refused").status, 503);
        }
        permit(&path, open);
        up.wait_ready();
        eventually("orders to be accepted", TIMEOUT, || {
            (up.post_order(&format!("at-{name}").replace('.', "-"))
                .status
                == 202)
                .then_some(())
        });
        up.stop();
        give(env.data_dir());
    }
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    env.db().eventually(
        orders,
        "at-orders-data\nat-store-db\nat-t-orders-db\nbefore",
    );
}
