//! Who runs a command that changes something.

/// `login@host`, kept beside what the command changes. A login that the system does not know is its
/// number.
pub fn actor() -> String {
    let login = whoami::username().unwrap_or_else(|_| {
        let number = rustix::process::getuid().as_raw();
        format!("uid {number}")
    });
    let host = rustix::system::uname();
    format!("{login}@{}", host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_a_login_on_a_host() {
        let actor = actor();
        let (login, host) = actor.split_once('@').expect("it has both");
        assert!(!login.is_empty() && !host.is_empty(), "{actor}");
    }
}
