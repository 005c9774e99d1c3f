//! Cells as JSON lines, medians as tables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The cells of one benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    file: File,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    what: String,
    label: String,
    figures: Map<String, Value>,
}

/// A column: its heading, the figure it shows, and decimals.
pub(crate) type Column<'a> = (&'a str, &'a str, usize);

impl Report {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, cells: Vec::new() })
    }

    /// Adds what one candidate did at one task in one round.
    pub(crate) fn add(&mut self, round: u32, what: &str, label: &str, figures: &Value) -> Result<()> {
        let figures = self.note(round, what, label, figures)?;
        eprintln!("round {round}: {what}: {label} done");
        self.cells.push(Cell { what: what.to_owned(), label: label.to_owned(), figures });
        Ok(())
    }

    /// Keeps figures that are part of what a table shows, and not shown themselves.
    pub(crate) fn note(
        &mut self,
        round: u32,
        what: &str,
        label: &str,
        figures: &Value,
    ) -> Result<Map<String, Value>> {
        let Value::Object(figures) = figures else { anyhow::bail!("figures are an object") };
        let mut line = Map::new();
        line.insert("round".into(), json!(round));
        line.insert("what".into(), json!(what));
        line.insert("label".into(), json!(label));
        line.extend(figures.clone());
        writeln!(self.file, "{}", Value::Object(line))?;
        Ok(figures.clone())
    }

    /// The median over the rounds, for each task and candidate in the order they came.
    pub(crate) fn print(&self, title: &str, columns: &[Column<'_>]) {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        let mut values: BTreeMap<(&str, &str, &str), Vec<f64>> = BTreeMap::new();
        for cell in &self.cells {
            let row = (cell.what.as_str(), cell.label.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
            for (name, value) in &cell.figures {
                if let Some(value) = value.as_f64() {
                    values.entry((row.0, row.1, name)).or_default().push(value);
                }
            }
        }
        println!("\n## {title}\n");
        let headings: Vec<&str> = columns.iter().map(|(heading, _, _)| *heading).collect();
        println!("| task | who | {} |", headings.join(" | "));
        println!("|---|---|{}", "---:|".repeat(columns.len()));
        for (what, label) in rows {
            let shown = columns.iter().map(|(_, name, decimals)| {
                values
                    .get(&(what, label, *name))
                    .map_or_else(String::new, |all| format!("{:.*}", *decimals, median(all)))
            });
            println!("| {what} | {label} | {} |", shown.collect::<Vec<_>>().join(" | "));
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        all if all.len() % 2 == 1 => all[middle],
        all => f64::midpoint(all[middle - 1], all[middle]),
    }
}

/// The middle one, and the two between which the middle half lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) middle: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        // Of an odd number the one in the middle belongs to neither half.
        let half = sorted.len() / 2;
        let low = median(sorted.get(..half).unwrap_or_default());
        let high = median(sorted.get(sorted.len() - half..).unwrap_or_default());
        Self { low, middle: median(&sorted), high }
    }
}

/// The value below which this share of sorted values lies.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    // Far fewer values than a float counts exactly.
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(&[9.0, 1.0, 3.0]).to_bits(), 3.0_f64.to_bits());
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_middle_half_lies_between_the_medians_of_the_halves() {
        let spread = Spread::of(&[7.0, 1.0, 3.0, 2.0, 6.0, 5.0, 4.0]);
        assert_eq!(spread, Spread { low: 2.0, middle: 4.0, high: 6.0 });
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), 3);
        assert_eq!(quantile(&[1, 2, 3, 4], 1.0), 4);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
