//! The data folder: its path and its permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use support::{Env, Orders};

use super::{stop_and_audit, up_under_load, wait_until_accepted};

/// The user `nobody`.
const USER: u32 = 65_534;

/// Runs a command as a user to whom permissions apply.
fn as_user(command: Orders<'_>) -> Orders<'_> {
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    command.wrapped_in(&["setpriv", &user, &group, "--clear-groups"])
}

/// Makes that user the owner of everything below.
fn change_owner(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("the tests run as root");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            change_owner(&entry.expect("it can be read").path());
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
        let (up, clients) = up_under_load(&env);
        clients.wait_for_more(20);
        stop_and_audit(&env, clients, &up);
    }
}

#[test]
fn a_data_folder_that_cannot_be_created_is_reported_with_a_hint() {
    let env = Env::embedded();
    fs::write(env.data_dir(), "a file").expect("the folder is writable");
    let mut runs = vec![("up", env.orders(&["up"]).run().exits(1))];
    runs.push(("serve-api", env.serve_api().run().exits(1)));
    runs.push(("consume", env.consume().run().exits(1)));
    let below = env.path().join("closed");
    fs::create_dir(&below).expect("the folder is writable");
    permit(env.path(), 0o755);
    permit(&below, 0o755);
    let up = env
        .orders(&["up"])
        .env("ORDERS_DATA_DIR", below.join("data"));
    runs.push(("up", as_user(up).run().exits(1)));
    for (command, refused) in runs {
        let error = refused.stderr;
        let has_hint = error.contains("data") && error.contains("--data-dir");
        assert!(has_hint, "{command}: {error}");
    }
}

#[test]
fn unwritable_files_and_folders_are_reported_and_work_begins_when_they_are_writable() {
    let env = Env::embedded();
    permit(env.path(), 0o777);
    let mut up = as_user(env.orders(&["up"])).start();
    up.accepts("before");
    env.wait_until_applied();
    up.stop();
    change_owner(env.data_dir());
    let folder = env.data_dir().to_owned();
    for (path, closed, open) in [
        (env.log_file(), 0o444, 0o600),
        (env.store_file(), 0o444, 0o600),
        (folder, 0o555, 0o700),
    ] {
        permit(&path, closed);
        let mut up = as_user(env.orders(&["up"])).spawn();
        let name = path.file_name().expect("it has a name").to_string_lossy();
        let report = up.wait_for_line("writable");
        assert!(report.contains(&*name), "{report}");
        if path == env.log_file() {
            up.post_order("refused").expect_status(503);
        }
        permit(&path, open);
        up.wait_ready();
        wait_until_accepted(&up, &format!("at-{name}").replace('.', "-"));
        up.stop();
        change_owner(env.data_dir());
    }
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    let expected = "at-orders-data\nat-store-db\nat-t-orders-db\nbefore";
    env.db().eventually(orders, expected);
}
