//! TLS to PostgreSQL: each `sslmode` is enforced, and none falls back to plaintext.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use support::Env;
use support::certificates::Identity;
use support::private::PrivatePostgres;
use support::process::Output;

/// A PostgreSQL that offers TLS with a certificate for `localhost`, and logs every connection.
struct TlsPostgres {
    server: PrivatePostgres,
    /// The certificate of the authority that signed the server's.
    right: PathBuf,
    /// That of another authority with the same name.
    wrong: PathBuf,
    /// The one that signed the server's.
    authority: Identity,
}

impl TlsPostgres {
    fn start() -> TlsPostgres {
        TlsPostgres::start_with(|authority| authority.sign("localhost"))
    }

    fn start_with(identity: impl Fn(&Identity) -> Identity) -> TlsPostgres {
        let mut server = PrivatePostgres::stopped();
        let [authority, other] = [(); 2].map(|()| Identity::authority("an authority"));
        let identity = identity(&authority);
        let data = server.data();
        let folder = data.parent().expect("the data are in a folder").to_owned();
        let give =
            |name: &str, text: Vec<u8>| give_to_the_owner_of(&data, &folder.join(name), &text);
        give("server.key", identity.key());
        give("server.crt", identity.certificate());
        let right = give("right-ca.crt", authority.certificate());
        let wrong = give("wrong-ca.crt", other.certificate());
        let settings = format!(
            "ssl = on\nssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\n\
             ssl_ca_file = '{folder}/right-ca.crt'\nlog_connections = on\n",
            folder = folder.display()
        );
        let file = data.join("postgresql.conf");
        let settings = fs::read_to_string(&file).unwrap() + &settings;
        fs::write(file, settings).unwrap();
        server.restart();
        TlsPostgres {
            server,
            right,
            wrong,
            authority,
        }
    }

    /// Whether each connection of the program that the server accepted was encrypted.
    fn accepted(&self) -> Vec<bool> {
        let data = self.server.data();
        let log = fs::read_to_string(data.with_file_name("postgres.log")).unwrap();
        log.lines()
            .filter(|line| line.contains("connection authorized"))
            .filter(|line| line.contains("application_name=orders"))
            .map(|line| line.contains("SSL enabled"))
            .collect()
    }
}

fn give_to_the_owner_of(data: &Path, file: &Path, bytes: &[u8]) -> PathBuf {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(data).unwrap();
    chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    file.to_owned()
}

/// Runs `orders migrate --status` with this host and these parameters.
fn migrate(env: &Env, host: &str, parameters: &str) -> Output {
    let url = env.db_url.replace("127.0.0.1", host);
    env.orders(&["migrate", "--status", "--wait", "0s"])
        .env("DB_URL", format!("{url}?{parameters}"))
        .run()
}

#[test]
fn each_sslmode_is_enforced_and_none_falls_back_to_plaintext() {
    let postgres = TlsPostgres::start();
    let env = Env::on_postgres(&postgres.server);
    let (right, wrong) = (postgres.right.display(), postgres.wrong.display());
    let full = |ca: &dyn std::fmt::Display| format!("sslmode=verify-full&sslrootcert={ca}");
    // `--status` of an empty database is 3: it was connected to.
    let accepted = [
        ("localhost", full(&right)),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&sslrootcert={right}"),
        ),
        ("127.0.0.1", "sslmode=require".to_owned()),
        // Where the server offers it, it is used.
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", String::new()),
    ];
    for (index, (host, parameters)) in accepted.iter().enumerate() {
        let ran = migrate(&env, host, parameters).exits(3);
        assert_eq!(ran.stderr, "", "{host} {parameters}");
        assert_eq!(
            postgres.accepted(),
            vec![true; index + 1],
            "{host} {parameters}"
        );
    }

    let refused = [
        ("127.0.0.1", full(&right), "mismatch"),
        ("localhost", full(&wrong), "certificate verify failed"),
        (
            "localhost",
            "sslmode=verify-full".to_owned(),
            "certificate verify failed",
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={wrong}"),
            "certificate verify failed",
        ),
        // A root certificate that is given is verified with, whatever the mode.
        (
            "localhost",
            format!("sslmode=require&sslrootcert={wrong}"),
            "certificate verify failed",
        ),
        (
            "localhost",
            format!("sslrootcert={wrong}"),
            "certificate verify failed",
        ),
    ];
    for (host, parameters, reason) in refused {
        let ran = migrate(&env, host, &parameters).exits(1);
        ran.reports(reason).reports(host);
        let connections = postgres.accepted().len();
        assert_eq!(connections, accepted.len(), "{host} {parameters}");
    }
    migrate(&env, "127.0.0.1", "sslmode=disable").exits(3);
    assert_eq!(postgres.accepted().last(), Some(&false));
}

/// What `orders migrate --status` does with these parameters and this variable.
fn status(env: &Env, parameters: &str, variable: (&str, &Path)) -> (Option<i32>, String) {
    let url = env.db_url.replace("127.0.0.1", "localhost");
    let ran = env
        .orders(&["migrate", "--status", "--wait", "0s"])
        .env("DB_URL", format!("{url}?{parameters}"))
        .env(variable.0, variable.1)
        .run();
    (ran.code(), ran.stderr)
}

#[test]
fn an_authority_of_the_system_counts_only_where_none_is_given() {
    let postgres = TlsPostgres::start();
    let env = Env::on_postgres(&postgres.server);
    let trusted = ("SSL_CERT_FILE", postgres.right.as_path());
    let connected = (Some(3), String::new());
    assert_eq!(status(&env, "sslrootcert=system", trusted), connected);
    assert_eq!(status(&env, "sslmode=verify-full", trusted), connected);
    let wrong = format!(
        "sslmode=verify-full&sslrootcert={}",
        postgres.wrong.display()
    );
    for (parameters, variable) in [
        (wrong.as_str(), trusted),
        (
            "sslrootcert=system",
            ("SSL_CERT_FILE", postgres.wrong.as_path()),
        ),
    ] {
        let (code, said) = status(&env, parameters, variable);
        let reason = "certificate verify failed";
        assert!(
            code == Some(1) && said.contains(reason),
            "{parameters}: {said}"
        );
    }
    let (code, said) = status(&env, "sslmode=require&sslrootcert=system", trusted);
    assert!(
        code == Some(2) && said.contains("`sslmode=verify-full`"),
        "{said}"
    );
    assert_eq!(postgres.accepted(), [true, true]);
}

#[test]
fn an_expired_certificate_is_refused_by_verify_full() {
    let postgres = TlsPostgres::start_with(|authority| authority.sign_expired("localhost"));
    let env = Env::on_postgres(&postgres.server);
    let right = postgres.right.display();
    let parameters = format!("sslmode=verify-full&sslrootcert={right}");
    let ran = migrate(&env, "localhost", &parameters).exits(1);
    ran.reports("certificate has expired");
    assert!(postgres.accepted().is_empty());
}

#[test]
fn a_client_certificate_opens_a_database_that_asks_for_one() {
    let postgres = TlsPostgres::start();
    let env = Env::on_postgres(&postgres.server);
    let mut db = env.db();
    db.run("CREATE ROLE app LOGIN SUPERUSER");
    let rules = postgres.server.data().join("pg_hba.conf");
    let others = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("hostssl all app all cert\n{others}")).unwrap();
    db.run("SELECT pg_reload_conf()");

    let client = postgres.authority.sign("app");
    let folder = env.path().join(".postgresql");
    fs::create_dir(&folder).unwrap();
    let write = |file: &Path, bytes: Vec<u8>, mode: u32| {
        fs::write(file, bytes).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (certificate, key) = (env.path().join("app.crt"), env.path().join("app.key"));
    let pem = client.key();
    write(&certificate, client.certificate(), 0o644);
    write(&key, pem.clone(), 0o600);
    let encrypted = client.encrypted_key("s3cr3t");
    let locked = env.path().join("locked.key");
    write(&locked, encrypted, 0o600);

    let verified = format!(
        "sslmode=verify-full&sslrootcert={}",
        postgres.right.display()
    );
    let as_app = |parameters: &str| {
        let url = env.db_url.replace("postgres@127.0.0.1", "app@localhost");
        let ran = env
            .orders(&["migrate", "--status", "--wait", "0s"])
            .env("DB_URL", format!("{url}?{verified}{parameters}"))
            .run();
        assert!(!ran.stderr.contains("s3cr3t"), "{}", ran.stderr);
        (ran.code(), ran.stderr)
    };
    let files = |key: &Path| {
        format!(
            "&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        )
    };
    let connected = (Some(3), String::new());
    support::eventually("the rule to count", support::TIMEOUT, || {
        let (code, said) = as_app("");
        (code == Some(1) && said.contains("certificate")).then_some(())
    });
    assert_eq!(as_app(&files(&key)), connected);
    assert_eq!(
        as_app(&format!("{}&sslpassword=s3cr3t", files(&locked))),
        connected
    );
    let (code, said) = as_app(&files(&locked));
    assert!(code == Some(2) && said.contains("`sslpassword`"), "{said}");

    write(&key, pem.clone(), 0o644);
    let (code, said) = as_app(&files(&key));
    assert!(code == Some(2) && said.contains("chmod 600"), "{said}");
    write(&folder.join("postgresql.key"), pem, 0o600);
    write(&folder.join("postgresql.crt"), client.certificate(), 0o644);
    assert_eq!(as_app(""), connected);
}

#[test]
fn a_certificate_that_anybody_gets_is_no_proof_without_the_hosts_name() {
    let postgres = TlsPostgres::start();
    let env = Env::on_postgres(&postgres.server);
    let trusted = ("SSL_CERT_FILE", postgres.right.as_path());
    let (code, said) = status(&env, "sslmode=verify-ca", trusted);
    let reason = "`sslmode=verify-ca` needs `sslrootcert`";
    assert!(code == Some(2) && said.contains(reason), "{said}");
    assert!(postgres.accepted().is_empty());
}

#[test]
fn a_missing_certificate_file_is_a_configuration_error() {
    let env = Env::empty();
    let parameters = "sslmode=verify-full&sslrootcert=/no/such/file";
    let ran = migrate(&env, "127.0.0.1", parameters).exits(2);
    ran.reports("the certificates of `sslrootcert=/no/such/file` cannot be read");
}

#[test]
fn a_server_without_tls_is_refused_by_every_mode_that_requires_it() {
    let env = Env::empty();
    for mode in ["require", "verify-full"] {
        let ran = migrate(&env, "127.0.0.1", &format!("sslmode={mode}"));
        ran.exits(1).reports("server does not support TLS");
    }
}

#[test]
fn services_stay_unready_and_do_not_connect_to_a_server_with_a_wrong_certificate() {
    let postgres = TlsPostgres::start();
    let env = Env::on_postgres(&postgres.server).prepared(1);
    let before = postgres.accepted().len();
    let url = env.db_url.replace("127.0.0.1", "localhost");
    let with_ca = |ca: &Path| format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
    let mut refused = env
        .consume()
        .env("DB_URL", with_ca(&postgres.wrong))
        .spawn();
    refused.wait_until_unready("certificate verify failed");
    assert!(refused.is_running());
    assert_eq!(postgres.accepted().len(), before);
    drop(refused);

    env.consume()
        .env("DB_URL", with_ca(&postgres.right))
        .start();
    assert!(!postgres.accepted()[before..].contains(&false));
}
