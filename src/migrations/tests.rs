//! The plan and the run, without a database.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use super::*;
use crate::store::Relation;

fn applied(file: &Migration) -> AppliedMigration {
    AppliedMigration {
        version: file.version,
        name: file.name.to_owned(),
        checksum: file.checksum.clone(),
        applied_at: "2026-11-23T07:00:00Z".to_owned(),
        is_compatible: file.is_compatible,
    }
}

fn three() -> Vec<Migration> {
    let names = ["001_a.sql", "002_b.sql", "003_c.sql"];
    (1..)
        .zip(names)
        .map(|(version, name)| migration(version, name, "SELECT 1;\n"))
        .collect()
}

fn names(files: &[&Migration]) -> Vec<&'static str> {
    files.iter().map(|file| file.name).collect()
}

#[test]
fn a_checksum_ignores_carriage_returns() {
    assert_eq!(
        checksum("SELECT 1;\r\nSELECT 2;\r\n"),
        checksum("SELECT 1;\nSELECT 2;\n")
    );
    assert_ne!(checksum("SELECT 1;\n"), checksum("SELECT 2;\n"));
    assert_eq!(checksum("")[..8], *"e3b0c442");
}

#[test]
fn every_file_of_a_folder_is_embedded_under_its_own_number() {
    let folders = [
        ("migrations", Dialect::Postgres),
        ("migrations/sqlite", Dialect::Sqlite),
    ];
    for (folder, dialect) in folders {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut in_folder: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        in_folder.sort();
        let embedded: Vec<&str> = files(dialect).iter().map(|file| file.name).collect();
        assert_eq!(embedded, in_folder);
        for (file, version) in files(dialect).iter().zip(1..) {
            assert_eq!(file.version, version);
            assert!(
                file.name.starts_with(&format!("{version:03}_")),
                "{}",
                file.name
            );
            assert_eq!(
                file.sql,
                fs::read_to_string(folder.join(file.name)).unwrap()
            );
        }
    }
}

#[test]
fn every_dialect_has_the_same_migrations() {
    let names = |dialect| -> Vec<(i32, &str)> {
        let files = files(dialect).iter();
        files.map(|file| (file.version, file.name)).collect()
    };
    assert_eq!(names(Dialect::Postgres), names(Dialect::Sqlite));
}

#[test]
fn a_fresh_database_gets_every_file_and_a_current_one_none() {
    let files = three();
    assert_eq!(
        names(&plan(&[], &files).unwrap()),
        ["001_a.sql", "002_b.sql", "003_c.sql"]
    );
    let history: Vec<_> = files.iter().map(applied).collect();
    assert!(plan(&history, &files).unwrap().is_empty());
    assert_eq!(
        names(&plan(&history[..1], &files).unwrap()),
        ["002_b.sql", "003_c.sql"]
    );
}

#[test]
fn an_edited_file_a_newer_database_and_a_gap_in_the_history_are_refused_by_name() {
    let files = three();
    let whole: Vec<_> = files.iter().map(applied).collect();
    let mut edited = whole[..2].to_vec();
    edited[1].checksum = checksum("SELECT 'edited'");
    let with_gap = vec![applied(&files[0]), applied(&files[2])];
    let (missing, applied) = ("002_b.sql".to_owned(), "003_c.sql".to_owned());
    for (history, files, error) in [
        (edited, &files[..], PlanError::Diverged("002_b.sql".into())),
        (whole, &files[..2], PlanError::Newer("003_c.sql".into())),
        (
            with_gap,
            &files[..],
            PlanError::OutOfOrder { missing, applied },
        ),
    ] {
        assert_eq!(plan(&history, files), Err(error));
    }
}

#[test]
fn a_schema_is_current_pending_or_newer() {
    let files = three();
    let history: Vec<_> = files.iter().map(applied).collect();
    assert_eq!(state_of(&history, &files), SchemaState::Current);
    assert_eq!(state_of(&history[..1], &files), SchemaState::Pending(2));
    assert_eq!(state_of(&[], &files), SchemaState::Pending(3));
    assert_eq!(state_of(&history, &files[..2]), SchemaState::Newer);
}

#[test]
fn a_newer_migration_that_is_marked_compatible_is_no_obstacle() {
    let mut files = three();
    files[2] = migration(
        3,
        "003_c.sql",
        "-- compatible: with all before\nSELECT 1;\n",
    );
    let history: Vec<_> = files.iter().map(applied).collect();
    assert_eq!(state_of(&history, &files[..2]), SchemaState::Current);
    assert!(plan(&history, &files[..2]).unwrap().is_empty());
    let statuses = statuses_of(&history, &files[..2]);
    assert_eq!(statuses[2].state, MigrationState::Unknown);
}

#[test]
fn only_the_head_of_a_file_marks_it() {
    let marked = migration(3, "003_c.sql", "-- no transaction: large\nSELECT 1;\n");
    assert!(!marked.in_transaction && !marked.is_compatible);
    let below = migration(3, "003_c.sql", "\n-- no transaction: large\nSELECT 1;\n");
    assert!(below.in_transaction);
}

/// A database in memory.
#[derive(Default)]
struct Fake {
    history: Vec<AppliedMigration>,
    /// How often another run has the lock.
    held: usize,
    /// The results of the first attempts to apply a migration.
    failures: VecDeque<StoreError>,
    existing_tables: Option<Vec<String>>,
}

impl Schema for Fake {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn check(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn history(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        Ok(self.history.clone())
    }

    fn relation(&mut self, _: &str) -> Result<Option<Relation>, StoreError> {
        Ok(None)
    }

    fn existing_tables(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        Ok(self.existing_tables.clone())
    }

    fn try_lock(&mut self) -> Result<bool, StoreError> {
        let is_free = self.held == 0;
        self.held = self.held.saturating_sub(1);
        Ok(is_free)
    }

    fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        if let Some(error) = self.failures.pop_front() {
            return Err(error);
        }
        self.history.push(applied(migration));
        Ok(())
    }
}

fn run_fake(fake: &mut Fake, within: Duration) -> (anyhow::Result<usize>, Vec<String>) {
    let reports = RefCell::new(Vec::new());
    let outcome = run(fake, within, &|text| {
        reports.borrow_mut().push(text.to_owned())
    });
    (outcome.map(|applied| applied.len()), reports.into_inner())
}

#[test]
fn a_run_applies_everything_once() {
    let mut fake = Fake::default();
    let (outcome, reports) = run_fake(&mut fake, Duration::ZERO);
    assert_eq!(outcome.unwrap(), files(Dialect::Postgres).len());
    let all = files(Dialect::Postgres).iter();
    let applying: Vec<String> = all.map(|file| format!("applying {}", file.name)).collect();
    assert_eq!(reports, applying);
    let (outcome, reports) = run_fake(&mut fake, Duration::ZERO);
    assert_eq!(outcome.unwrap(), 0);
    assert!(reports.is_empty());
}

#[test]
fn a_run_waits_for_another_and_reports_it_once() {
    let mut fake = Fake {
        held: 2,
        ..Fake::default()
    };
    let (outcome, reports) = run_fake(&mut fake, Duration::from_secs(30));
    assert!(outcome.is_ok());
    let waits = reports
        .iter()
        .filter(|line| line.contains("holds the lock"))
        .count();
    assert_eq!(waits, 1);
}

#[test]
fn a_lock_held_past_the_limit_is_a_timeout() {
    let mut fake = Fake {
        held: usize::MAX,
        ..Fake::default()
    };
    let (outcome, _) = run_fake(&mut fake, Duration::ZERO);
    assert_eq!(
        Failure::of(&outcome.unwrap_err()).unwrap().exit,
        Exit::TimedOut
    );
    assert!(fake.history.is_empty());
}

#[test]
fn a_table_in_use_is_retried() {
    let mut fake = Fake {
        failures: [StoreError::Contended("lock timeout".into())].into(),
        existing_tables: Some(Vec::new()),
        ..Fake::default()
    };
    let (outcome, reports) = run_fake(&mut fake, Duration::from_secs(30));
    assert_eq!(outcome.unwrap(), files(Dialect::Postgres).len());
    assert_eq!(reports[0], "adopting the existing tables with their rows");
    assert_eq!(
        reports[2],
        "001_init.sql must wait, a table is in use: lock timeout"
    );
}

#[test]
fn a_failing_file_is_named_and_ends_the_run() {
    let mut fake = Fake {
        failures: [StoreError::Misconfigured("permission denied".into())].into(),
        ..Fake::default()
    };
    let (outcome, _) = run_fake(&mut fake, Duration::ZERO);
    let error = format!("{:#}", outcome.unwrap_err());
    assert!(
        error.starts_with("applying migration `001_init.sql`: "),
        "{error}"
    );
    assert!(fake.history.is_empty());
}
