//! The matrix: statements against evidence.

use super::evidence::{Evidence, Outcome, Verdict};
use super::series::Series;
use super::statement::{Scope, Statement};
use std::fmt;
use std::marker::PhantomData;

/// What came of one statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row<S> {
    number: u16,
    result: Result<Shown, String>,
    series: PhantomData<S>,
}

/// A statement that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown {
    Pass(String),
    NotApplicable(String),
}

impl<S: Series> fmt::Display for Row<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [pass, fail] = S::WORDS;
        let (word, reason) = match &self.result {
            Ok(Shown::Pass(reason)) => (pass, reason),
            Ok(Shown::NotApplicable(reason)) => ("n/a", reason),
            Err(reason) => (fail, reason),
        };
        let (letters, digits) = (S::LETTERS, S::DIGITS);
        write!(f, "{letters}-{:0digits$} {word} {reason}", self.number)
    }
}

/// All rows, and the evidence that belongs to none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matrix<S> {
    /// In the order of the statements.
    pub rows: Vec<Row<S>>,
    /// Tests that failed without being about a statement, and verdicts about statements that do not
    /// exist. The matrix is not to be trusted while there are any.
    pub complaints: Vec<String>,
}

impl<S: Series> Matrix<S> {
    /// Judges every statement.
    pub fn new(statements: &[Statement<S::Setting>], evidence: &Evidence<S::Setting>) -> Self {
        let rows = statements
            .iter()
            .map(|statement| Row {
                number: statement.number,
                result: judge(statement, &evidence.verdicts),
                series: PhantomData,
            })
            .collect();
        let failed = evidence
            .failed_tests
            .iter()
            .map(|name| format!("failed test: {name}"));
        let known = |verdict: &&Verdict<S::Setting>| {
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
        let count =
            |wanted: fn(&Row<S>) -> bool| self.rows.iter().filter(|row| wanted(row)).count();
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

fn judge<T: Copy + Ord + fmt::Display>(
    statement: &Statement<T>,
    verdicts: &[Verdict<T>],
) -> Result<Shown, String> {
    let mut about: Vec<&Verdict<T>> = verdicts
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
            .any(|setting| verdict.settings.contains(setting))
    });
    if let Some(failed) = about
        .iter()
        .find(|verdict| verdict.outcome == Outcome::Fail)
    {
        return Err(format!("{}; {}", failed.source, statement.text));
    }
    let shown = |setting: &&T| {
        about
            .iter()
            .any(|verdict| verdict.settings.contains(setting))
    };
    let missing: Vec<&T> = groups
        .iter()
        .filter(|group| !group.iter().any(|setting| shown(&setting)))
        .filter_map(|group| group.first())
        .collect();
    match (groups.len(), missing.is_empty()) {
        (_, true) => {
            let seen = groups.iter().flatten().filter(shown).collect();
            Ok(Shown::Pass(format!(
                "{}, {} verdicts; {}",
                listed(seen),
                about.len(),
                statement.text
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

fn listed<T: fmt::Display>(settings: Vec<&T>) -> String {
    let names: Vec<_> = settings.into_iter().map(T::to_string).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::statement::parse;
    use super::*;
    use crate::attack::Attacks;
    use crate::conformance::Checklist;

    fn rows(table: &str, output: &str) -> Vec<String> {
        rows_of::<Checklist>(table, output)
    }

    fn rows_of<S: Series>(table: &str, output: &str) -> Vec<String> {
        let statements = parse::<S>(table).unwrap();
        let matrix = Matrix::<S>::new(&statements, &Evidence::read::<S>(output));
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
            ["LG-001 pass G4 G5, 2 verdicts; it works"]
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
            ["LG-001 pass G5, 1 verdicts; it works"]
        );
    }

    #[test]
    fn once_is_enough_where_guests_do_not_differ() {
        let table = "LG-001 once it works\nLG-002 n/a it cannot be";
        assert_eq!(
            rows(table, "test lg001_x ... ok\n"),
            [
                "LG-001 pass G5, 1 verdicts; it works",
                "LG-002 n/a it cannot be"
            ]
        );
        assert_eq!(rows(table, "")[0], "LG-001 fail no test; it works");
    }

    #[test]
    fn other_failures_are_complaints() {
        let evidence = Evidence::read::<Checklist>("test x ... FAILED\na: LG-009 pass x\n");
        let statements = parse::<Checklist>("LG-001 n/a x").unwrap();
        let matrix = Matrix::<Checklist>::new(&statements, &evidence);
        assert_eq!(matrix.totals(), [0, 0, 1]);
        assert_eq!(matrix.complaints.len(), 2);
        assert!(!matrix.holds());
    }
    #[test]
    fn an_attack_has_to_fail_in_both_modes() {
        let table = "A-01 guests it is tried";
        let shared = "a::shared: A-01 pass x\n";
        let both = format!("{shared}a::isolated: A-01 pass x\n");
        assert_eq!(
            rows_of::<Attacks>(table, shared),
            ["A-01 FELL no test in isolated; it is tried"]
        );
        assert_eq!(
            rows_of::<Attacks>(table, &both),
            ["A-01 held shared isolated, 2 verdicts; it is tried"]
        );
    }
}
