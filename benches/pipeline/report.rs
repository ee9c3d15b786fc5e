//! The table: work, measurement, the bare limit of the same run, and the ratio.

use std::fmt;

use crate::load::{Load, thousands};

/// One line of the table.
pub struct Row {
    work: String,
    measured: String,
    limit: String,
    ratio: String,
}

impl Row {
    /// Two loads of the same shape.
    pub fn rates(work: &str, ours: &Load, limit_name: &str, limit: &Load) -> Row {
        Row {
            work: work.into(),
            measured: ours.to_string(),
            limit: format!("{limit_name}: {limit}"),
            ratio: ratio(ours.per_second(), limit.per_second()),
        }
    }

    /// A load against a plain rate.
    pub fn against(work: &str, ours: &Load, limit_name: &str, limit: f64) -> Row {
        Row::numbers(work, ours.per_second(), limit_name, limit)
    }

    /// Two plain rates.
    pub fn numbers(work: &str, ours: f64, limit_name: &str, limit: f64) -> Row {
        Row {
            work: work.into(),
            measured: format!("{} /s", thousands(ours)),
            limit: format!("{limit_name}: {} /s", thousands(limit)),
            ratio: ratio(ours, limit),
        }
    }

    /// Something that has no bare counterpart.
    pub fn alone(work: &str, ours: &Load) -> Row {
        Row {
            work: work.into(),
            measured: ours.to_string(),
            limit: "-".into(),
            ratio: "-".into(),
        }
    }

    pub fn text(work: &str, measured: &str, limit_name: &str, limit: &str) -> Row {
        Row {
            work: work.into(),
            measured: measured.into(),
            limit: format!("{limit_name}: {limit}"),
            ratio: "-".into(),
        }
    }
}

/// All lines so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        eprintln!(
            "  {}: {} ({}, ratio {})",
            row.work, row.measured, row.limit, row.ratio
        );
        self.rows.push(row);
    }

    pub fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| work | measured | bare limit of the same run | ratio |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        for Row {
            work,
            measured,
            limit,
            ratio,
        } in &self.rows
        {
            writeln!(f, "| {work} | {measured} | {limit} | {ratio} |")?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

fn ratio(ours: f64, limit: f64) -> String {
    format!("{:.2}", ours / limit)
}
