//! The figures as a table, for people and for docs/PERFORMANCE.md.

use std::fmt::Write;

use testkit::workspace_root;

use crate::measure::Cost;

pub struct Report {
    text: String,
}

/// The middle one of several measurements.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Report {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let text = format!(
            "# Performance\n\nWritten by `make bench`: one run on one machine with {cores} cores that everything, \
             servers and clients included, shares. Medians; compare ratios, not absolute figures.\n"
        );
        Self { text }
    }

    /// One comparison: rows of a name and its measurements, the first row being ours.
    /// `more_is_better` tells rates from durations.
    pub fn compare(&mut self, title: &str, unit: &str, more_is_better: bool, rows: Vec<(&str, Vec<f64>)>) {
        let ours = median(rows[0].1.clone());
        let mut table = format!("\n## {title}\n\n| | {unit} | mp3converter beside it |\n|---|---:|---:|\n");
        for (name, values) in rows {
            let value = median(values);
            let ratio = if more_is_better { ours / value } else { value / ours };
            let _ = writeln!(table, "| {name} | {value:.2} | {ratio:.2} × |");
        }
        self.add(&table);
    }

    /// What each contestant's run cost, the first row being ours.
    pub fn costs(&mut self, title: &str, rows: &[(String, Vec<Cost>)]) {
        let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
        let ours = middle(&rows[0].1, |cost| cost.seconds);
        let mut table = format!(
            "\n## {title}\n\n| | seconds | mp3converter beside it | CPU seconds | peak MiB |\n|---|---:|---:|---:|---:|\n"
        );
        for (name, costs) in rows {
            let seconds = middle(costs, |cost| cost.seconds);
            let (cpu, peak) = (middle(costs, |cost| cost.cpu_seconds), middle(costs, |cost| cost.peak_mib));
            let _ = writeln!(table, "| {name} | {seconds:.2} | {:.2} × | {cpu:.2} | {peak:.0} |", seconds / ours);
        }
        self.add(&table);
    }

    /// Plain figures.
    pub fn figures(&mut self, title: &str, unit: &str, rows: &[(&str, f64)]) {
        let mut table = format!("\n## {title}\n\n| | {unit} |\n|---|---:|\n");
        for (name, value) in rows {
            let _ = writeln!(table, "| {name} | {value:.1} |");
        }
        self.add(&table);
    }

    fn add(&mut self, table: &str) {
        println!("{table}");
        self.text.push_str(table);
    }

    pub fn write(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(workspace_root().join("docs/PERFORMANCE.md"), &self.text)?)
    }
}
