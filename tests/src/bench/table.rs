//! A table of measured rows, as a file: a line each, `<row> <setting> <instructions>`, sorted.

use super::setting::Setting;
use std::collections::BTreeMap;
use std::fmt;

/// One cell's place: the row, and the setting.
pub type Place = (String, Setting);

/// What was measured where.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table(BTreeMap<Place, u32>);

impl Table {
    /// Adds a cell.
    ///
    /// # Errors
    /// When there is one: two guests measure rows of the same name.
    pub fn add(&mut self, row: &str, setting: Setting, count: u32) -> Result<(), String> {
        match self.0.insert((row.to_owned(), setting), count) {
            None => Ok(()),
            Some(_) => Err(format!("{row} {setting}: measured twice")),
        }
    }

    /// Reads a file. Lines that start with `#` are for people.
    ///
    /// # Errors
    /// The first line that is none of a table.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Table::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let cell = match words.as_slice() {
                [row, setting, count] => Setting::named(setting)
                    .zip(count.parse().ok())
                    .map(|(setting, count)| (row, setting, count)),
                _ => None,
            };
            let (row, setting, count) = cell.ok_or(format!("no line of a table: {line}"))?;
            table.add(row, setting, count)?;
        }
        Ok(table)
    }

    /// The cells, sorted.
    pub fn cells(&self) -> impl Iterator<Item = (&Place, u32)> {
        self.0.iter().map(|(place, count)| (place, *count))
    }

    /// What was measured there.
    pub fn get(&self, place: &Place) -> Option<u32> {
        self.0.get(place).copied()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((row, setting), count) in self.cells() {
            writeln!(f, "{row} {setting} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_what_it_writes() {
        let text = "a bare 1\na shared 2\nb isolated-slow 3\n";
        let table = Table::parse(&format!("# head\n{text}")).unwrap();
        assert_eq!(table.to_string(), text);
        assert_eq!(table.get(&("a".into(), Setting::Bare)), Some(1));
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        for text in ["a bare", "a nowhere 1", "a bare x", "a bare 1 2", "\n"] {
            assert!(Table::parse(text).is_err(), "{text}");
        }
        let twice = Table::parse("a bare 1\na bare 2\n").unwrap_err();
        assert_eq!(twice, "a bare: measured twice");
    }
}
