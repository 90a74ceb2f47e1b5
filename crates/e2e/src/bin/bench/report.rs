//! The figures as a table, for people and for docs/PERFORMANCE.md.

use std::{fmt::Write, path::PathBuf};

use testkit::workspace_root;

use crate::measure::Cost;

pub struct Report {
    path: PathBuf,
    tables: Vec<Table>,
}

struct Table {
    title: String,
    text: String,
}

/// The middle one of several measurements.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Report {
    /// Of all there is to be measured; or of a `part`, whose tables take the place of those that bear
    /// the same titles.
    pub fn new(part: bool) -> anyhow::Result<Self> {
        let path = workspace_root().join("docs/PERFORMANCE.md");
        let tables = if part { parse(&std::fs::read_to_string(&path)?) } else { Vec::new() };
        Ok(Self { path, tables })
    }

    /// One comparison: rows of a name and its measurements, the first row being ours.
    /// `more_is_better` tells rates from durations.
    pub fn compare(
        &mut self,
        title: &str,
        unit: &str,
        more_is_better: bool,
        rows: Vec<(&str, Vec<f64>)>,
    ) -> anyhow::Result<()> {
        let ours = median(rows[0].1.clone());
        let mut table = format!("| | {unit} | mp3converter beside it |\n|---|---:|---:|\n");
        for (name, values) in rows {
            let value = median(values);
            let ratio = if more_is_better { ours / value } else { value / ours };
            let _ = writeln!(table, "| {name} | {value:.2} | {ratio:.2} × |");
        }
        self.add(title, table)
    }

    /// What each contestant's run cost, the first row being ours.
    pub fn costs(&mut self, title: &str, rows: &[(String, Vec<Cost>)]) -> anyhow::Result<()> {
        let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
        let ours = middle(&rows[0].1, |cost| cost.seconds);
        let mut table =
            "| | seconds | mp3converter beside it | CPU seconds | peak MiB |\n|---|---:|---:|---:|---:|\n".to_owned();
        for (name, costs) in rows {
            let seconds = middle(costs, |cost| cost.seconds);
            let (cpu, peak) = (middle(costs, |cost| cost.cpu_seconds), middle(costs, |cost| cost.peak_mib));
            let _ = writeln!(table, "| {name} | {seconds:.2} | {:.2} × | {cpu:.2} | {peak:.0} |", seconds / ours);
        }
        self.add(title, table)
    }

    /// Plain figures.
    pub fn figures(&mut self, title: &str, unit: &str, rows: &[(&str, f64)]) -> anyhow::Result<()> {
        let mut table = format!("| | {unit} |\n|---|---:|\n");
        for (name, value) in rows {
            let _ = writeln!(table, "| {name} | {value:.1} |");
        }
        self.add(title, table)
    }

    /// Shows the table and writes it down.
    fn add(&mut self, title: &str, text: String) -> anyhow::Result<()> {
        println!("\n## {title}\n\n{text}");
        let new = Table { title: title.to_owned(), text };
        match self.tables.iter_mut().find(|old| old.title == title) {
            Some(old) => *old = new,
            None => self.tables.push(new),
        }
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!(
            "# Performance\n\nWritten by `make bench`. Each table is one run on one machine with {cores} cores that \
             everything, servers and clients included, shares. Medians; compare ratios, not absolute figures.\n"
        );
        for Table { title, text: table } in &self.tables {
            let _ = write!(text, "\n## {title}\n\n{}\n", table.trim_end());
        }
        Ok(std::fs::write(&self.path, text)?)
    }
}

/// The tables of what was written before.
fn parse(text: &str) -> Vec<Table> {
    let parts = text.split("\n## ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(title, text)| Table { title: title.to_owned(), text: text.trim().to_owned() }).collect()
}
