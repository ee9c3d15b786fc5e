//! Rules for the source code: which file may use which client library, how long a file may be, and
//! that README, `tests/run` and CI name the same test command.

use std::fs;
use std::path::{Path, PathBuf};

/// Files of `folder` in the package, below it too.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The sources that name `word` outside comments, as paths in the package.
fn sources_naming(word: &str) -> Vec<String> {
    let named = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source can be read");
        text.lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .any(|code| names(code, word))
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = files("src").into_iter().filter(named);
    found
        .map(|path| {
            path.strip_prefix(root)
                .expect("a source is in the package")
                .display()
                .to_string()
        })
        .collect()
}

/// Whether `word` stands in this line of code as the name of a crate: not part of a longer name, and
/// not the end of a path such as `super::postgres`.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].strip_suffix("::").unwrap_or(&code[..at]);
        let before = before.chars().next_back().unwrap_or(' ');
        let after = code[at + word.len()..].chars().next().unwrap_or(' ');
        let longer = |letter: char| letter.is_alphanumeric() || letter == '_';
        !longer(before) && (word.ends_with(':') || !longer(after))
    })
}

#[test]
fn the_kafka_client_is_named_in_one_folder_and_unsafe_code_is_where_its_safe_interface_ends() {
    let folder = "src/event_log/kafka/";
    let client = sources_naming("rdkafka::");
    assert!(!client.is_empty());
    assert!(
        client.iter().all(|file| file.starts_with(folder)),
        "{client:?}"
    );
    let native = ["broker_watchdog", "delivery_reports", "describe_topics"]
        .map(|file| format!("{folder}{file}.rs"));
    assert_eq!(sources_naming("rdkafka_sys"), native);
    assert_eq!(sources_naming("unsafe"), native);
}

#[test]
fn the_postgresql_client_is_named_in_one_source_file() {
    assert_eq!(sources_naming("postgres::"), ["src/store/postgres.rs"]);
    assert_eq!(
        sources_naming("postgres_openssl"),
        ["src/store/postgres.rs"]
    );
}

#[test]
fn sqlite_is_named_in_the_folders_of_its_files_and_of_the_embedded_engines() {
    let folders = [
        "src/event_log/sqlite",
        "src/sqlite_file",
        "src/store/sqlite",
    ];
    for path in sources_naming("rusqlite") {
        let is_known = folders.iter().any(|folder| path.starts_with(folder));
        assert!(is_known, "{path}");
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
    assert!(
        read("README.md")
            .lines()
            .any(|line| line.trim() == "tests/run"),
        "README.md names tests/run"
    );
    let commands: Vec<String> = read(".ci/run")
        .lines()
        .filter(|line| line.contains("tests/run"))
        .map(str::to_owned)
        .collect();
    assert_eq!(commands, ["exec tests/run"]);
    assert!(
        read("README.md")
            .lines()
            .any(|line| line.trim() == "cargo run --release -- up --demo"),
        "README.md names the command that runs the main job"
    );
}
