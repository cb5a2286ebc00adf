//! What a micro guest is expected to do: said in the first line of its source.

use crate::conformance::scope;
use crate::conformance::world::World;
use hv_runner::Outcome;

/// How a run has to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// The reason on the stop line. A `*` at the end stands for anything.
    pub stop: String,
    /// The status.
    pub status: u8,
}

impl Expectation {
    /// Reads `/* expect: stop="..." status=N */`.
    pub fn parse(source: &str) -> Option<Self> {
        let line = source.lines().next()?;
        let words = line
            .strip_prefix("/* expect: stop=\"")?
            .strip_suffix(" */")?;
        let (stop, status) = words.split_once("\" status=")?;
        Some(Expectation {
            stop: stop.into(),
            status: status.parse().ok()?,
        })
    }

    /// Compares with what happened.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let stop = outcome.stop();
        let fits = match self.stop.strip_suffix('*') {
            Some(start) => stop.starts_with(start),
            None => stop == self.stop,
        };
        if outcome.status != self.status || !fits {
            let Expectation {
                stop: wanted,
                status,
            } = self;
            return Err(format!(
                "wanted status {status} and {wanted:?}, got status {} and {stop:?}",
                outcome.status
            ));
        }
        Ok(())
    }
}

/// A run of a guest that can end in many ways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// The word for `case=` on the guest's command line.
    pub name: String,
    /// How it ends.
    pub expectation: Expectation,
    /// The statements that this end shows, such as `LG-028`.
    pub items: Vec<String>,
    /// The guests that it is about.
    pub worlds: Vec<World>,
    /// Which of the lists of statements it stands below, counted from the top.
    pub list: usize,
}

impl Case {
    /// The verdicts for a run that ended as expected.
    pub fn verdicts(&self) -> String {
        shown(&self.items, &self.expectation.stop)
    }
}

/// Verdicts for statements that an end itself shows.
pub fn shown(items: &[String], end: &str) -> String {
    let lines = items.iter().map(|item| format!("{item} pass {end}\n"));
    lines.collect()
}

/// Reads a table of cases: on each line a name, blanks, and the reason why the guest is killed. A line
/// `[LG-028 LG-125] G1-G4` says what the cases below it show and which guests have them, up to the next
/// such line. Without the second all have them; it is a scope as in the checklist.
pub fn kill_cases(table: &str) -> Vec<Case> {
    let (mut items, mut worlds, mut list) = (Vec::new(), World::all(), 0);
    let mut cases = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some((shown, scope)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            list += 1;
            items = shown.split_whitespace().map(String::from).collect();
            worlds = match scope.trim() {
                "" => World::all(),
                scope => scope::groups(scope)
                    .unwrap_or_else(|| panic!("no such scope: {line}"))
                    .concat(),
            };
        } else if let Some((name, reason)) = line.split_once(' ') {
            cases.push(Case {
                name: name.into(),
                expectation: Expectation {
                    stop: format!("guest killed: {}", reason.trim()),
                    status: 3,
                },
                items: items.clone(),
                worlds: worlds.clone(),
                list,
            });
        }
    }
    cases
}

/// The guest's own verdicts: lines such as `LG-123 pass what` and `A-04 FAIL what got=.. want=..`.
///
/// # Errors
/// The failed ones; or that there is none at all, which is no success either.
pub fn verdicts(console: &str) -> Result<usize, String> {
    let is_item =
        |word: &str| word.starts_with("LG-") || word.starts_with("A-") || word.starts_with('R');
    let (mut passed, mut failed) = (0, Vec::new());
    for line in console.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(item), Some("pass")) if is_item(item) => passed += 1,
            (_, Some("FAIL")) => failed.push(line),
            _ => {}
        }
    }
    match (passed, failed.as_slice()) {
        (0, []) => Err("the guest printed no verdict".into()),
        (_, []) => Ok(passed),
        _ => Err(failed.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_runner::{End, LogLine, STOP};

    fn outcome(status: u8, stop: &str) -> Outcome {
        Outcome {
            status,
            end: End::Host(status),
            console: Vec::new(),
            log: vec![LogLine::plain(format!("{STOP}{stop}"))],
            qemu: String::new(),
        }
    }

    #[test]
    fn an_expectation_is_read_from_the_first_line() {
        let source = "/* expect: stop=\"guest powered off\" status=0 */\n#include <x>\n";
        let expectation = Expectation::parse(source).unwrap();
        assert_eq!(
            expectation,
            Expectation {
                stop: "guest powered off".into(),
                status: 0
            }
        );
        assert!(expectation.check(&outcome(0, "guest powered off")).is_ok());
        assert!(
            expectation
                .check(&outcome(0, "guest powered off twice"))
                .is_err()
        );
        assert!(expectation.check(&outcome(3, "guest powered off")).is_err());
        assert_eq!(Expectation::parse("int main;"), None);
    }

    #[test]
    fn a_star_stands_for_the_rest() {
        let cases = kill_cases("# comment\n\ncall_3      Bad hypercall *\n");
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "call_3");
        assert!(
            cases[0]
                .expectation
                .check(&outcome(3, "guest killed: Bad hypercall 3"))
                .is_ok()
        );
        assert!(
            cases[0]
                .expectation
                .check(&outcome(3, "guest killed: worse"))
                .is_err()
        );
    }

    #[test]
    fn cases_show_the_statements_above_them() {
        let cases = kill_cases("first   x\n[LG-028 LG-030]\nsecond  y\n[]\nthird   z\n");
        let items: Vec<_> = cases.iter().map(|case| case.items.join(" ")).collect();
        assert_eq!(items, ["", "LG-028 LG-030", ""]);
        assert_eq!(
            cases[1].verdicts(),
            "LG-028 pass guest killed: y\nLG-030 pass guest killed: y\n"
        );
    }

    #[test]
    fn cases_are_for_the_guests_above_them() {
        let cases = kill_cases("first   x\n[LG-028] G2/two-level\nsecond  y\n[]\nthird   z\n");
        let worlds: Vec<_> = cases.iter().map(|case| case.worlds.len()).collect();
        assert_eq!(worlds, [8, 1, 8]);
    }

    #[test]
    fn verdicts_are_counted_and_failures_shown() {
        assert_eq!(
            verdicts("hello\nLG-001 pass a\nA-04 pass b\nR3 pass c\n"),
            Ok(3)
        );
        assert_eq!(
            verdicts("LG-001 pass a\nLG-002 FAIL b got=1\n"),
            Err("LG-002 FAIL b got=1".into())
        );
    }

    #[test]
    fn silence_is_no_success() {
        assert!(verdicts("nothing to see\n").is_err());
    }
}
