//! What a run found: tables for people (Markdown) and for programs (JSON).

use serde_json::{Map, Value, json};
use std::fmt;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    /// A number and its decimals.
    Number(f64, usize),
    /// Does not apply, or could not be measured.
    Missing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number as f64, 0)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Text(text) => f.write_str(text),
            Cell::Number(number, decimals) if number.is_finite() => write!(f, "{number:.decimals$}"),
            Cell::Number(..) | Cell::Missing => f.write_str("–"),
        }
    }
}

impl Cell {
    fn to_json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Number(number, _) => json!(number),
            Cell::Missing => Value::Null,
        }
    }
}

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Table {
        Table { title: title.into(), columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row: a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "{}", self.title);
        self.rows.push(cells);
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn to_json(&self) -> Value {
        let object = |cells: &Vec<Cell>| -> Map<String, Value> {
            self.columns.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), cell.to_json())).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(object).collect();
        json!({ "title": self.title, "rows": rows, "notes": self.notes })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let widths: Vec<usize> = (0..header.len())
            .map(|column| rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let is_number = |column: usize| self.rows.iter().all(|row| !matches!(row[column], Cell::Text(_)));
        writeln!(f, "## {}\n", self.title)?;
        let line = |f: &mut fmt::Formatter<'_>, row: &[String]| {
            for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
                if is_number(column) { write!(f, "| {text:>width$} ")? } else { write!(f, "| {text:<width$} ")? }
            }
            writeln!(f, "|")
        };
        line(f, &header)?;
        for (column, width) in widths.iter().enumerate() {
            let dashes = "-".repeat(width - 1);
            if is_number(column) { write!(f, "| {dashes}: ")? } else { write!(f, "| {dashes}- ")? }
        }
        writeln!(f, "|")?;
        for row in &rows {
            line(f, row)?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// All tables of a run; each is printed as soon as it is there.
#[derive(Debug)]
pub(crate) struct Report {
    command: String,
    machine: String,
    tables: Vec<Table>,
}

impl Report {
    pub(crate) fn begin(command: String, machine: String) -> Report {
        println!("`{command}`\n\n{machine}\n");
        Report { command, machine, tables: Vec::new() }
    }

    pub(crate) fn add(&mut self, table: Table) {
        println!("{table}");
        self.tables.push(table);
    }

    pub(crate) fn to_json(&self) -> Value {
        let tables: Vec<_> = self.tables.iter().map(Table::to_json).collect();
        json!({ "command": self.command, "machine": self.machine, "tables": tables })
    }
}

/// The middle of some numbers; of an even count the mean of the two in the middle; NaN of none.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => numbers[count / 2],
        count => (numbers[count / 2 - 1] + numbers[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_markdown_and_as_json() {
        let mut table = Table::new("Figures", &["what", "µs"]);
        table.row(vec!["GET".into(), Cell::Number(1.256, 2)]);
        table.row(vec!["SET".into(), Cell::Missing]);
        table.note("Lower is better.");
        let text = table.to_string();
        assert!(text.contains("| GET  | 1.26 |\n") && text.contains("| what |   µs |\n| ---- | ---: |\n"), "{text}");
        assert!(text.ends_with("\nLower is better.\n"));
        assert_eq!(table.to_json()["rows"][0], json!({ "what": "GET", "µs": 1.256 }));
        assert_eq!(table.to_json()["rows"][1]["µs"], Value::Null);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
