//! The table for people: its figures are those of the baseline, what stands beside them is written by hand.

use super::setting::SETTINGS;
use super::table::Table;
use std::collections::BTreeSet;

/// The rows of a document with the figures of `table`. A row is a line ``| `name` | figures | what it means |``, with a
/// figure for each setting, in their order.
///
/// # Errors
/// When one has a row that the other has not.
pub fn renewed(document: &str, table: &Table) -> Result<String, String> {
    let measured: BTreeSet<&str> = table.cells().map(|((row, _), _)| row.as_str()).collect();
    let mut described = BTreeSet::new();
    let mut text = String::new();
    for line in document.lines() {
        match row(line) {
            Some((name, meaning)) => {
                described.insert(name);
                text += &line_of(name, meaning, table);
            }
            None => text += line,
        }
        text.push('\n');
    }
    let different = measured.symmetric_difference(&described);
    match different.copied().collect::<Vec<_>>().as_slice() {
        [] => Ok(text),
        names => Err(format!(
            "rows that only one of the document and the baseline has: {}",
            names.join(" ")
        )),
    }
}

/// Name and meaning.
fn row(line: &str) -> Option<(&str, &str)> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let ["", name, figures @ .., meaning, ""] = cells.as_slice() else {
        return None;
    };
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    (figures.len() == SETTINGS.len()).then_some((name, *meaning))
}

fn line_of(name: &str, meaning: &str, table: &Table) -> String {
    let figures = SETTINGS.map(|setting| match table.get(&(name.to_owned(), setting)) {
        Some(count) => count.to_string(),
        None => "-".to_owned(),
    });
    format!("| `{name}` | {} | {meaning} |", figures.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built;

    fn table(text: &str) -> Table {
        Table::parse(text).unwrap()
    }

    #[test]
    fn figures_are_replaced_and_words_stay() {
        let document = "# Title\n| `a` | x | | | | | the first |\n| `b` |\n";
        let wanted = "# Title\n| `a` | - | 7 | - | - | 9 | the first |\n| `b` |\n";
        let renewed = renewed(document, &table("a shared 7\na isolated-slow 9"));
        assert_eq!(renewed.as_deref(), Ok(wanted));
    }

    #[test]
    fn every_row_is_described_and_every_description_has_its_row() {
        let document = "| `a` | | | | | | what |\n";
        for cells in ["b bare 1", "a bare 1\nb bare 2", ""] {
            assert!(renewed(document, &table(cells)).is_err(), "{cells}");
        }
    }

    #[test]
    fn the_document_has_the_figures_of_the_baseline() {
        let read = |path: &str| std::fs::read_to_string(built::tests().join(path)).unwrap();
        let document = read("../docs/performance.md");
        let baseline = table(&read("bench/baseline.txt"));
        assert_eq!(renewed(&document, &baseline), Ok(document));
    }
}
