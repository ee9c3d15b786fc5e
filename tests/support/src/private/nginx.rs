//! An nginx for one test.

use std::fs;
use std::process::Command;

use super::server::Server;
use crate::{TIMEOUT, eventually_ok, http};

/// An nginx with one server block on its port; its workers run as the user of the test.
pub struct PrivateNginx(Server);

impl PrivateNginx {
    /// Starts it with these directives in its server block, and waits until it responds.
    pub fn start(directives: &str) -> PrivateNginx {
        let mut server = Server::new("nginx");
        let dir = server.dir.path();
        let temp_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", dir.join(kind).display()))
            .concat();
        let config = format!(
            "daemon off; user root; worker_processes 1; pid {}; error_log stderr;
             events {{}}
             http {{ access_log off; {temp_paths}
               server {{ listen 127.0.0.1:{}; {directives} }} }}",
            dir.join("pid").display(),
            server.port,
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, config).expect("the folder is writable");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir).arg("-c").arg(&file);
        // Debian has it where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        server.spawn(&mut command);
        let nginx = PrivateNginx(server);
        eventually_ok("nginx to respond", TIMEOUT, || http::try_get(&nginx.url()));
        nginx
    }

    /// Without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }
}
