//! Rules for the source code: which folder may use which client library, how modules may use each
//! other, how long a file may be, and that README, `tests/run` and CI name the same test command.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use sources::{circles, files, sources};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The files of src whose code contains `name` as a whole path segment or word, at the beginning of a
/// path where it ends with `::`.
fn files_with(name: &str) -> Vec<String> {
    let found = sources("src").into_iter().filter(|source| {
        source.code.match_indices(name).any(|(at, _)| {
            let before = &source.code[..at];
            // `::postgres::` is the crate, `super::postgres::` is not.
            let before = before.strip_suffix("::").unwrap_or(before);
            let before = before.chars().next_back().unwrap_or(' ');
            let after = source.code[at + name.len()..].chars().next();
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
            !is_part(before) && (name.ends_with(':') || !after.is_some_and(is_part))
        })
    });
    found.map(|source| source.file).collect()
}

#[test]
fn each_client_library_is_used_in_its_folders_alone() {
    let rules: [(&str, &[&str]); 8] = [
        ("rdkafka::", &["src/event_log/kafka/"]),
        ("postgres::", &["src/store/postgres"]),
        ("postgres_openssl::", &["src/store/postgres"]),
        ("openssl::", &["src/store/postgres"]),
        (
            "rusqlite::",
            &[
                "src/sqlite_file",
                "src/event_log/sqlite",
                "src/store/sqlite",
            ],
        ),
        ("hyper::", &["src/api/", "src/http_server/", "src/admin/"]),
        ("tiny_http::", &["src/admin/"]),
        ("ureq::", &["src/client"]),
    ];
    for (library, folders) in rules {
        let elsewhere: Vec<String> = files_with(library)
            .into_iter()
            .filter(|file| !folders.iter().any(|folder| file.starts_with(folder)))
            .collect();
        assert!(elsewhere.is_empty(), "{library} is used in {elsewhere:?}");
    }
}

#[test]
fn unsafe_code_is_where_the_safe_interface_of_the_kafka_client_ends() {
    let native = [
        "broker_watchdog",
        "change_topics",
        "delivery_reports",
        "describe_topics",
        "message_status",
    ]
    .map(|file| format!("src/event_log/kafka/{file}.rs"));
    assert_eq!(files_with("rdkafka_sys"), native);
    assert_eq!(files_with("unsafe"), native);
}

#[test]
fn modules_of_one_folder_use_each_other_in_one_direction() {
    for folder in ["src", "benches/pipeline", "tests/support/src"] {
        let mut circles = circles(&sources(folder));
        // A topic owns its writer and its notifications, and both work on the topic.
        circles.retain(|circle| !circle.starts_with("event_log::sqlite: "));
        assert!(circles.is_empty(), "{folder}: {circles:#?}");
    }
}

#[test]
fn code_outside_tests_has_no_glob_imports() {
    for source in sources("src") {
        let is_glob = |line: &&str| line.trim_start().starts_with("use ") && line.contains("::*");
        let glob = source.code.lines().find(is_glob);
        assert_eq!(glob, None, "{}", source.file);
    }
}

#[test]
fn a_source_file_has_at_most_400_lines() {
    for path in files("src") {
        let lines = fs::read_to_string(&path)
            .expect("a source can be read")
            .lines()
            .count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_source_file_has_a_head() {
    let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    for path in files("src").into_iter().filter(is_module) {
        let text = fs::read_to_string(&path).expect("a source can be read");
        assert!(text.starts_with("//! "), "{} has no head", path.display());
    }
}

#[test]
fn readme_and_ci_name_the_same_test_command() {
    let readme = read("README.md");
    let has_line = |command: &str| readme.lines().any(|line| line.trim() == command);
    assert!(has_line("tests/run"));
    assert!(has_line("cargo run --release -- up --demo"));
    let ci = read(".ci/run");
    let commands: Vec<&str> = ci
        .lines()
        .filter(|line| line.contains("tests/run"))
        .collect();
    assert_eq!(commands, ["exec tests/run"]);
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_boundaries_of_docs_security_name_files_and_tests_that_exist() {
    let document = read("docs/security.md");
    let (_, boundaries) = document
        .split_once("\n## Boundaries\n")
        .expect("there is that section");
    let code: String = ["src", "tests"]
        .into_iter()
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).expect("a source can be read"))
        .collect();
    let mut rows = 0;
    for row in boundaries.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').collect();
        let [_, _, _, files, tests, _] = cells[..] else {
            panic!("not four cells: {row}")
        };
        for file in quoted(files) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            assert!(path.is_file(), "there is no {file}");
        }
        for test in quoted(tests) {
            assert!(code.contains(&format!("fn {test}(")), "there is no {test}");
            rows += 1;
        }
    }
    assert!(rows > 50, "{rows} tests are named");
}
