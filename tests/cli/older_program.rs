//! A program that knows only the migrations 001 and 002, beside a database that has all of them: its
//! statements succeed and mean what they meant, whatever a newer program has written meanwhile.
//!
//! The statements are texts of that program, and nothing is derived from the present one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};

use postgres::{Client, SimpleQueryMessage};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use support::{Db, Engines, Env, on_both_engines};

mod calls;

on_both_engines! {
    [
        an_older_program_goes_on_working_after_the_migrations,
    ]
}

/// The statements: `-- name:` begins each.
const POSTGRES: &str = include_str!("older_program/postgres.sql");
const SQLITE: &str = include_str!("older_program/sqlite.sql");

/// The schema as that program makes it.
const POSTGRES_SCHEMA: [&str; 2] = [
    include_str!("../../migrations/001_init.sql"),
    include_str!("../../migrations/002_exactly_once.sql"),
];
const SQLITE_SCHEMA: [&str; 2] = [
    include_str!("../../migrations/sqlite/001_init.sql"),
    include_str!("../../migrations/sqlite/002_exactly_once.sql"),
];

/// What a newer program writes into rows of the older one, and beside them.
const NEWER_WRITES: &str = "
    UPDATE dead_letters SET resolution = 'retried', resolved_at = '2026-01-01T00:00:00.000000Z',
        resolved_by = 'somebody', resolved_why = 'fixed';
    UPDATE log_positions SET has_erasures = (1 = 1), moved_at = '2026-01-01T00:00:00.000000Z',
        moved_by = 'somebody', moved_why = 'restored';
    INSERT INTO accepted_gaps (position_id, epoch, from_offset, to_offset, accepted_by, why)
        SELECT id, epoch, 0, 1, 'somebody', 'deleted' FROM log_positions;
    INSERT INTO erasures (uid_sha256, erased_until, erased_by, why)
        SELECT payload_sha256, '2026-01-01T00:00:00.000000Z', 'somebody', 'asked for'
        FROM dead_letters WHERE payload_sha256 IS NOT NULL";

/// How that looks after the older program went on.
const RESOLVED: &str =
    "SELECT resolution, count(*) FROM dead_letters GROUP BY resolution ORDER BY resolution IS NULL";
const MOVED: &str = "SELECT moved_by, moved_why FROM log_positions WHERE has_erasures = (1 = 1)";

fn an_older_program_goes_on_working_after_the_migrations(engines: &Engines) {
    let (before, after) = (engines.empty(), engines.empty());
    fs::create_dir_all(before.data_dir()).expect("the folder is writable");
    for migration in engines.select(POSTGRES_SCHEMA, SQLITE_SCHEMA) {
        before.db().run(migration);
    }
    after.orders(&["migrate"]).run().succeeds();

    let statements = engines.select(POSTGRES, SQLITE);
    let mut not_called: BTreeSet<&str> = parse(statements).into_keys().collect();
    let mut old = OlderProgram::connect(&before, statements);
    let mut new = OlderProgram::connect(&after, statements);
    for round in 1..=2 {
        for call in engines.select(calls::postgres(round), calls::sqlite(round)) {
            let expected = old.call(&call);
            assert_eq!(new.call(&call), expected, "{call}");
            let name = call.split('(').next().expect("a call has a name");
            not_called.remove(name);
            if name == "find_by_id" {
                let moved = format!("1|topic-1|0|{round}|{}0|", round + 1);
                assert!(expected.starts_with(&moved), "{call}: {expected}");
            }
        }
        if round == 1 {
            after.db().run(NEWER_WRITES);
        }
    }
    assert_eq!(not_called, BTreeSet::new());
    let stored = engines.select(7, 5);
    for env in [&before, &after] {
        assert_eq!(
            (env.db().count("orders"), env.db().count("dead_letters")),
            (stored, 4)
        );
    }
    let resolved = after.db().text(RESOLVED);
    assert_eq!(resolved, "retried|2\n|2");
    assert_eq!(after.db().text(MOVED), "somebody|restored");
}

/// The statements by name.
fn parse(file: &'static str) -> BTreeMap<&'static str, &'static str> {
    let statements = file.split("\n-- name: ").skip(1);
    statements
        .map(|statement| statement.split_once('\n').expect("a name ends its line"))
        .collect()
}

/// One session of the older program.
enum OlderProgram {
    Postgres(Box<Client>, BTreeMap<&'static str, &'static str>),
    Sqlite(Connection, BTreeMap<&'static str, &'static str>),
}

impl OlderProgram {
    fn connect(env: &Env, statements: &'static str) -> OlderProgram {
        let statements = parse(statements);
        match env.db() {
            Db::Sqlite(file) => OlderProgram::Sqlite(file.open(), statements),
            Db::Postgres(mut client) => {
                for (name, sql) in &statements {
                    if !sql.starts_with("COPY ") {
                        let prepared = client.batch_execute(&format!("PREPARE {name} AS {sql}"));
                        prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
                    }
                }
                OlderProgram::Postgres(client, statements)
            }
        }
    }

    /// Runs a statement, written as its name with literal arguments in parentheses, or any other that
    /// has none. Returns its rows, or how many it wrote.
    fn call(&mut self, call: &str) -> String {
        let (name, arguments) = call.split_once('(').unwrap_or((call, ")"));
        let arguments = arguments.strip_suffix(')').expect("a call ends");
        let result = match self {
            OlderProgram::Postgres(client, statements) => match statements.get(name) {
                Some(copy) if copy.starts_with("COPY ") => {
                    return copy_rows(client, copy, arguments);
                }
                Some(_) if arguments.is_empty() => execute(client, &format!("EXECUTE {name}")),
                Some(_) => execute(client, &format!("EXECUTE {call}")),
                None => execute(client, call),
            },
            OlderProgram::Sqlite(connection, statements) => {
                let sql = statements.get(name).copied().unwrap_or(call);
                run(connection, sql, arguments).map_err(|error| error.to_string())
            }
        };
        result.unwrap_or_else(|error| panic!("{call}: {error}"))
    }
}

fn execute(client: &mut Client, sql: &str) -> Result<String, String> {
    let messages = client.simple_query(sql).map_err(|error| {
        let database = error.as_db_error().map(ToString::to_string);
        database.unwrap_or_else(|| error.to_string())
    })?;
    let lines = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(line((0..row.len()).map(|column| {
                row.get(column).unwrap_or_default().to_owned()
            })))
        }
        SimpleQueryMessage::CommandComplete(rows) => Some(format!("{rows} rows")),
        _ => None,
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Copies the rows of an order, with another uid, as that program inserts many.
fn copy_rows(client: &mut Client, copy: &str, uid: &str) -> String {
    let target = copy
        .strip_prefix("COPY ")
        .and_then(|it| it.split_once(" ("));
    let (table, columns) = target.expect("a table and its columns");
    let (columns, _) = columns.split_once(')').expect("the columns end");
    let columns = columns.replacen("order_uid", "'copied-' || order_uid", 1);
    let read =
        format!("COPY (SELECT {columns} FROM {table} WHERE order_uid = {uid}) TO STDOUT BINARY");
    let mut rows = Vec::new();
    let mut reader = client.copy_out(&read).expect("the rows are readable");
    reader
        .read_to_end(&mut rows)
        .expect("the rows are readable");
    drop(reader);
    let mut writer = client.copy_in(copy).expect("the table takes COPY");
    writer.write_all(&rows).expect("the server reads");
    let written = writer
        .finish()
        .unwrap_or_else(|error| panic!("{copy}: {error}"));
    format!("{written} rows")
}

fn run(connection: &Connection, sql: &str, arguments: &str) -> rusqlite::Result<String> {
    let values: Vec<Value> = if arguments.is_empty() {
        Vec::new()
    } else {
        let mut literals = connection.prepare(&format!("SELECT {arguments}"))?;
        let count = literals.column_count();
        literals.query_row([], |row| (0..count).map(|column| row.get(column)).collect())?
    };
    let mut statement = connection.prepare(sql)?;
    if statement.column_count() == 0 {
        return Ok(format!(
            "{} rows",
            statement.execute(params_from_iter(values))?
        ));
    }
    let count = statement.column_count();
    let mut rows = statement.query(params_from_iter(values))?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let cells: Vec<Value> = (0..count)
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<_>>()?;
        lines.push(line(cells.into_iter().map(text_of)));
    }
    Ok(lines.join("\n"))
}

fn text_of(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The columns of a row, joined by `|`, without the times at which the test runs.
fn line(cells: impl Iterator<Item = String>) -> String {
    let is_time = |cell: &str| cell.len() >= 19 && cell.get(4..5) == Some("-");
    let cells = cells.map(|cell| {
        let is_now = is_time(&cell) && !cell.starts_with(calls::DAY);
        if is_now { "now".to_owned() } else { cell }
    });
    cells.collect::<Vec<_>>().join("|")
}
