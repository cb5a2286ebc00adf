//! The matrix: statements against evidence.

use super::evidence::{Evidence, Outcome, Verdict};
use super::statement::{Scope, Statement};
use super::world::World;
use std::fmt;

/// What came of one statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    number: u16,
    result: Result<Shown, String>,
}

/// A statement that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown {
    Pass(String),
    NotApplicable(String),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.result {
            Ok(Shown::Pass(reason)) => ("pass", reason),
            Ok(Shown::NotApplicable(reason)) => ("n/a", reason),
            Err(reason) => ("fail", reason),
        };
        write!(f, "LG-{:03} {word} {reason}", self.number)
    }
}

/// All rows, and the evidence that belongs to none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matrix {
    /// In the order of the statements.
    pub rows: Vec<Row>,
    /// Tests that failed without being about a statement, and verdicts about statements that do not
    /// exist. The matrix is not to be trusted while there are any.
    pub complaints: Vec<String>,
}

impl Matrix {
    /// Judges every statement.
    pub fn new(statements: &[Statement], evidence: &Evidence) -> Self {
        let rows = statements
            .iter()
            .map(|statement| Row {
                number: statement.number,
                result: judge(statement, &evidence.verdicts),
            })
            .collect();
        let failed = evidence
            .failed_tests
            .iter()
            .map(|name| format!("failed test: {name}"));
        let known = |verdict: &&Verdict| {
            statements
                .iter()
                .any(|statement| statement.number == verdict.number)
        };
        let unknown = evidence
            .verdicts
            .iter()
            .filter(|verdict| !known(verdict))
            .map(|verdict| format!("no such statement: {}", verdict.source));
        Self {
            rows,
            complaints: failed.chain(unknown).collect(),
        }
    }

    /// Passed, failed and skipped (not applicable).
    pub fn totals(&self) -> [usize; 3] {
        let count = |wanted: fn(&Row) -> bool| self.rows.iter().filter(|row| wanted(row)).count();
        [
            count(|row| matches!(row.result, Ok(Shown::Pass(_)))),
            count(|row| row.result.is_err()),
            count(|row| matches!(row.result, Ok(Shown::NotApplicable(_)))),
        ]
    }

    /// Whether every statement that applies was shown everywhere, and nothing else failed.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.result.is_ok()) && self.complaints.is_empty()
    }
}

fn judge(statement: &Statement, verdicts: &[Verdict]) -> Result<Shown, String> {
    let mut about: Vec<&Verdict> = verdicts
        .iter()
        .filter(|verdict| verdict.number == statement.number)
        .collect();
    let groups = match &statement.scope {
        Scope::NotApplicable(reason) => return Ok(Shown::NotApplicable(reason.clone())),
        Scope::Shown(groups) => groups,
    };
    about.retain(|verdict| {
        groups
            .iter()
            .flatten()
            .any(|world| verdict.worlds.contains(world))
    });
    if let Some(failed) = about
        .iter()
        .find(|verdict| verdict.outcome == Outcome::Fail)
    {
        return Err(format!("{}; {}", failed.source, statement.text));
    }
    let shown = |world: &&World| about.iter().any(|verdict| verdict.worlds.contains(world));
    let missing: Vec<&World> = groups
        .iter()
        .filter(|group| !group.iter().any(|world| shown(&world)))
        .filter_map(|group| group.first())
        .collect();
    match (groups.len(), missing.is_empty()) {
        (_, true) => {
            let seen = groups.iter().flatten().filter(shown).collect();
            Ok(Shown::Pass(format!(
                "{}, {} verdicts",
                listed(seen),
                about.len()
            )))
        }
        (1, false) => Err(format!("no test; {}", statement.text)),
        (_, false) => Err(format!(
            "no test in {}; {}",
            listed(missing),
            statement.text
        )),
    }
}

fn listed(worlds: Vec<&World>) -> String {
    let names: Vec<_> = worlds.into_iter().map(World::to_string).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::statement::parse;
    use super::*;

    fn rows(table: &str, output: &str) -> Vec<String> {
        let matrix = Matrix::new(&parse(table).unwrap(), &Evidence::read(output));
        matrix.rows.iter().map(Row::to_string).collect()
    }

    #[test]
    fn a_statement_passes_when_it_was_shown_in_every_world_of_its_scope() {
        let table = "LG-001 G4-G5/two-level it works";
        let g5 = "a::shared: LG-001 pass x\n";
        let g4 = "a.g4::shared: LG-001 pass x\n";
        assert_eq!(rows(table, ""), ["LG-001 fail no test in G4 G5; it works"]);
        assert_eq!(rows(table, g5), ["LG-001 fail no test in G4; it works"]);
        assert_eq!(
            rows(table, &format!("{g5}{g4}")),
            ["LG-001 pass G4 G5, 2 verdicts"]
        );
    }

    #[test]
    fn one_failed_verdict_fails_the_statement() {
        let output = "a: LG-001 pass x\nb: LG-001 FAIL y got=1\n";
        assert_eq!(
            rows("LG-001 G5/two-level it works", output),
            ["LG-001 fail b: LG-001 FAIL y got=1; it works"]
        );
    }

    #[test]
    fn a_verdict_outside_the_scope_says_nothing() {
        let output = "a.g1: LG-001 FAIL x\na: LG-001 pass x\n";
        assert_eq!(
            rows("LG-001 G5/two-level it works", output),
            ["LG-001 pass G5, 1 verdicts"]
        );
    }

    #[test]
    fn once_is_enough_where_guests_do_not_differ() {
        let table = "LG-001 once it works\nLG-002 n/a it cannot be";
        assert_eq!(
            rows(table, "test lg001_x ... ok\n"),
            ["LG-001 pass G5, 1 verdicts", "LG-002 n/a it cannot be"]
        );
        assert_eq!(rows(table, "")[0], "LG-001 fail no test; it works");
    }

    #[test]
    fn other_failures_are_complaints() {
        let evidence = Evidence::read("test x ... FAILED\na: LG-009 pass x\n");
        let matrix = Matrix::new(&parse("LG-001 n/a x").unwrap(), &evidence);
        assert_eq!(matrix.totals(), [0, 0, 1]);
        assert_eq!(matrix.complaints.len(), 2);
        assert!(!matrix.holds());
    }
}
